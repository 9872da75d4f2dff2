"""What accounts has to say when somebody is erased from the activity log: whether that may be, what else is theirs, and what it forgets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.dispatch import receiver

from accounts.events import MemberCreated, MemberRemoved, subject_of_address
from accounts.models import IdempotencyKey, User
from activity.erasure.errors import ErasureRefused
from activity.erasure.signals import person_erased
from activity.models import OutboxEvent
from activity.personal import reveal
from activity.search import Query
from activity.selectors import event_page
from tenants.context import current


def subjects_of(subject: str) -> list[str]:
    """All that is erased with this person, as it is recorded, themselves first: of a former member also the address, unless it is
    another member's by now.

    Raises ErasureRefused for whoever is still here, since the log must go on saying who did what, and LogUnavailable.
    """
    kind, _, identity = subject.partition(":")
    if kind == "address":
        if _is_used(identity):
            raise ErasureRefused("A member has this address. Remove them first, then erase them.")
        return [subject_of_address(identity)]
    if kind not in {"member", "operator"}:
        return [subject]
    person = _uuid(identity)
    if User.objects.using("default").filter(pk=person).exists():
        raise ErasureRefused("They are still here. Remove them first, then erase them.")
    subject = f"{kind}:{person}"
    return [subject, *(subject_of_address(email) for email in sorted(_addresses(subject)) if not _is_used(email))]


def _is_used(email: str) -> bool:
    return User.objects.by_email(email) is not None


def _uuid(identity: str) -> UUID:
    try:
        return UUID(identity)
    except ValueError:
        raise ErasureRefused("Write the id as the log does, such as member:0190a1b2-….", status=422) from None


def _addresses(subject: str) -> set[str]:
    """The addresses that a former member had, as the events of their coming and going say; an address can't be changed in between."""
    actions = (MemberCreated.action, MemberRemoved.action)
    waiting = OutboxEvent.objects.filter(
        document__action__in=actions, document__target__id=subject.partition(":")[2]
    ).values_list("document", flat=True)
    found = [*reveal(current(), waiting), *(event for action in actions for event in _logged(subject, action))]
    return {email for event in found if isinstance(email := event["data"].get("email"), str)}


def _logged(subject: str, action: str) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = event_page(current(), Query(target=subject, action=action), cursor=cursor)
        yield from page.items
        cursor = page.next
        if cursor is None:
            return


@receiver(person_erased, dispatch_uid="accounts.answers_forget")
def answers_forget(**_: Any) -> None:
    """Answers that are kept for repeated requests may hold an event in clear. That the request took effect stays known.

    Those with 202 tell of a job and of nobody.
    """
    IdempotencyKey.objects.filter(status__isnull=False).exclude(status=202).exclude(body=b"").update(body=b"")
