"""How many events a tenant's product may send in a day, by plan: counted exactly, in the transaction that records them.

The count is a row in the tenant's own database. So there is nothing that could be away without the events themselves having nowhere to
go, and no moment at which the one counts and the other isn't kept. Only new events count: a repeat costs nothing. Days are those of UTC,
by Postgres's clock. Tenantry's own events don't count: what happened must be recorded.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.conf import settings
from django.db import connection

from activity.errors import QuotaExceeded
from tenants import metrics
from tenants.context import current, current_tenant
from tenants.refs import TenantRef

_USED: Final = "SELECT accepted FROM activity_ingestday WHERE day = (now() AT TIME ZONE 'UTC')::date"
_KNOWN: Final = "SELECT count(*) FROM activity_knownevent WHERE event_id = ANY(%s::uuid[])"
_TAKE: Final = """
INSERT INTO activity_ingestday AS today (day, accepted) VALUES ((now() AT TIME ZONE 'UTC')::date, %s)
ON CONFLICT (day) DO UPDATE SET accepted = today.accepted + excluded.accepted
RETURNING accepted
"""
_SECONDS_LEFT: Final = """
SELECT ceil(extract(epoch FROM date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day' - (now() AT TIME ZONE 'UTC')))
"""


def daily_limit() -> int | None:
    """What the active tenant may send today; None: as much as it likes."""
    ref = current()
    limits: dict[str, int] = settings.EVENTS_PER_DAY
    return limits.get(ref.plan) if isinstance(ref, TenantRef) else None


def check(limit: int, event_ids: Collection[str]) -> None:
    """Refuse what can't fit any more before anything is written. An early look, which `take` makes exact. Raises QuotaExceeded."""
    used = used_today()
    if used + len(event_ids) <= limit:
        return
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [list(event_ids)])
        fresh = len(event_ids) - cursor.fetchone()[0]
    if fresh and used + fresh > limit:
        raise _exceeded(limit, used, fresh)


def take(limit: int, fresh: int) -> None:
    """Count events that were just recorded, in their transaction, which must not commit when this raises QuotaExceeded.

    Whoever counts at the same time waits for the row until this transaction ends.
    """
    if not fresh:
        return
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [fresh])
        used = cursor.fetchone()[0]
    if used > limit:
        raise _exceeded(limit, used - fresh, fresh)


def _exceeded(limit: int, used: int, wanted: int) -> QuotaExceeded:
    with connection.cursor() as cursor:
        cursor.execute(_SECONDS_LEFT)
        seconds = int(cursor.fetchone()[0])
    plan = current_tenant().plan
    metrics.PLAN_REFUSALS.labels("events_sent", plan).inc()
    return QuotaExceeded(plan=plan, limit=limit, used=used, wanted=wanted, retry_after=max(1, seconds))


def used_today() -> int:
    """How many the active tenant has sent today, where that is limited and so counted."""
    with connection.cursor() as cursor:
        cursor.execute(_USED)
        row = cursor.fetchone()
    return row[0] if row else 0
