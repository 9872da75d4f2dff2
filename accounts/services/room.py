"""How many more members the plan of the organisation has room for. Whoever is in the list counts, deactivated ones too.

Where the plan has no limit nothing is asked. Where it has one, those who add members take turns: each holds a lock until its transaction
ends, so that the next one counts what it added.
"""

from __future__ import annotations

from typing import Final

from django.db import connection
from django.db.models import Exists, OuterRef, Value
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.models import Invitation, User
from tenants import plan_limits
from tenants.context import current_tenant
from tenants.errors import PlanLimitReached

_LOCK: Final = int.from_bytes(b"seats", "big")
_TAKE_TURNS: Final = "SELECT pg_advisory_xact_lock(%s)"


def room_lock() -> int | None:
    """How many more members there is room for, until the end of the caller's transaction; None without a limit."""
    limit = plan_limits.limit_of("members")
    if limit is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURNS, [_LOCK])
    return max(0, limit - _count())


def room_take() -> None:
    """Make sure of room for one more, inside the transaction that adds them. Raises PlanLimitReached."""
    if room_lock() == 0:
        raise _refused()


def room_look(*, inviting: str) -> None:
    """Refuse an invitation that could not be accepted, were all open ones to others accepted first. Raises PlanLimitReached.

    A look without the lock, which somebody who accepts an invitation may hold: accepting takes room exactly.
    """
    limit = plan_limits.limit_of("members")
    if limit is None:
        return
    found = Invitation.objects.using("default").filter(accepted_at=None, revoked_at=None, expires_at__gt=timezone.now())
    members = User.objects.using("default").filter(
        email__lower=Lower(OuterRef("email"))
    )  # theirs can't be accepted any more
    open_ones = found.exclude(email__lower=Lower(Value(inviting))).exclude(Exists(members)).count()
    if _count() + open_ones >= limit:
        raise _refused(invited=open_ones)


def too_many() -> str:
    """What the report of an import says of a row for which there is no room."""
    plan, limit = current_tenant().plan, plan_limits.limit_of("members")
    return f"The plan {plan} has room for {limit:,} members, and all of it is taken. Remove somebody, or ask for another plan."


def _count() -> int:
    return User.objects.using("default").count()


def _refused(*, invited: int = 0) -> PlanLimitReached:
    ref, limit = current_tenant(), plan_limits.limit_of("members")
    assert limit is not None
    return plan_limits.refused(PlanLimitReached.of_members(ref.plan, limit, _count(), invited=invited))
