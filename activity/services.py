"""What changes the log: events that a tenant's own product sends in, and the upkeep of what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from django.db.models.functions import Now

from activity import canonical, outbox, personal
from activity.context import Actor, circumstances
from activity.errors import EventInvalid
from activity.events import Target
from activity.models import KnownEvent
from activity.outbox import Ingested
from activity.personal import Mark
from activity.selectors import event_get
from tenants.context import current
from tenants.ids import new_id

# Tenantry's own events can't be sent in from outside.
RESERVED: Final = ("tenant.", "member.", "invitation.", "session.", "token.", "job.", "activity.")
KNOWN_FOR: Final = timedelta(days=7)

# An event with its id: the document in its normal form, and where it tells of people.
Form = tuple[UUID, canonical.Document, list[Mark]]


def event_ingest(event: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Record one event that was sent in; returns it as the API shows it, and whether it is new.

    For an id that is known it is the event as it was first recorded. Raises EventInvalid, LogUnavailable when that can't be looked up, and
    SubjectKeysUnavailable.
    """
    form = _normal_form(event, circumstances())
    (event_id, encoded), document = _protected([form])[0], form[1]
    is_new = bool(outbox.record_ingested([(event_id, encoded)]).accepted)
    found = None if is_new else event_get(event_id)
    return found or {**personal.reveal(current(), [document])[0], "seq": None}, is_new


def events_ingest(events: Sequence[Mapping[str, Any]]) -> Ingested:
    """Record events that were sent in, all of them or, when any can't be, none.

    Raises EventInvalid, by index and field, and SubjectKeysUnavailable.
    """
    forms: list[Form] = []
    errors: dict[str, list[str]] = {}
    around = circumstances()
    for index, event in enumerate(events):
        try:
            forms.append(_normal_form(event, around))
        except EventInvalid as refusal:
            errors.update({f"events.{index}.{field}": sentences for field, sentences in refusal.errors.items()})
    if errors:
        raise EventInvalid(errors)
    return outbox.record_ingested(_protected(forms))


def known_events_prune() -> int:
    """Forget ids of the active tenant that were sent in more than a week ago; returns how many."""
    pruned, _ = KnownEvent.objects.filter(recorded_at__lt=Now() - KNOWN_FOR).delete()
    return pruned


def _protected(forms: Sequence[Form]) -> list[tuple[UUID, bytes]]:
    """What goes into the outbox: personal values encrypted, in the documents themselves."""
    personal.protect(current(), [(document, marks) for _, document, marks in forms])
    return [(event_id, orjson.dumps(document)) for event_id, document, _ in forms]


def _normal_form(event: Mapping[str, Any], around: Any) -> Form:
    if event["action"].startswith(RESERVED):
        raise EventInvalid(
            {"action": [f"Names that begin with {event['action'].partition('.')[0]}. are Tenantry's own."]}
        )
    event_id = event.get("id") or new_id()
    actor, target = event.get("actor"), event.get("target")
    document, _ = canonical.normal_form(
        id=event_id,
        at=event.get("at") or datetime.now(UTC),
        action=event["action"],
        actor=Actor(**actor) if actor else around.actor,
        target=Target(**target) if target else None,
        source="api",
        request_id=around.request_id,
        ip=None,  # the address of the sender's server would pass for the actor's
        data=event.get("data") or {},
    )
    return event_id, document, personal.marks_of_sent(document, event.get("personal") or (), event.get("subject"))
