"""Measuring: tenants are visited in turn, those first that nobody has visited for longest.

A visit asks for what there is, and writes it over what was found before: a second one of the same day changes nothing but for the
truth. (Events of a day don't become fewer: those that the log keeps no longer have been.) Who visits is claimed in control, so that two
tasks at the same time share the tenants between them. A visit that fails comes again in an hour, as if it had not: one tenant that can't
be measured is in nobody's way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

import structlog
from django.db import Error, connection
from django.db.models.functions import Now

from activity.usage.meters import Meter, all_meters
from tenants import context, directory, reads, usage
from tenants.errors import TenantryError
from tenants.models import UsageDay, UsageWriter
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

EVERY: Final = timedelta(hours=1)
AT_ONCE: Final = (
    20  # tenants that are claimed at once: a task that is killed leaves no more of them unmeasured for EVERY
)
STATEMENT_SECONDS: Final = 20.0
SOON: Final = timedelta(minutes=1)  # somebody who looks at the numbers has them measured again after so long
KEPT: Final = timedelta(days=400)
PRUNED_AT_ONCE: Final = 10_000

_CLAIM: Final = """
WITH due AS (
    SELECT tenant.id FROM tenants_tenant AS tenant
    LEFT JOIN tenants_usageday AS usage ON usage.tenant_id = tenant.id AND usage.day = %(day)s
    WHERE tenant.state = 'active' AND (usage.visited_at IS NULL OR usage.visited_at < now() - %(every)s)
    ORDER BY usage.visited_at NULLS FIRST, tenant.id LIMIT %(count)s
)
INSERT INTO tenants_usageday AS usage (tenant_id, day, visited_at) SELECT id, %(day)s, now() FROM due ORDER BY id
ON CONFLICT (tenant_id, day) DO UPDATE SET visited_at = now()
WHERE usage.visited_at IS NULL OR usage.visited_at < now() - %(every)s
RETURNING tenant_id
"""
_CLAIM_ONE: Final = """
INSERT INTO tenants_usageday AS usage (tenant_id, day, visited_at) VALUES (%(tenant)s, %(day)s, now())
ON CONFLICT (tenant_id, day) DO UPDATE SET visited_at = now()
WHERE usage.visited_at IS NULL OR usage.visited_at < now() - %(every)s
RETURNING tenant_id
"""
_KEEP: Final = """
UPDATE tenants_usageday SET
    members = coalesce(%(members)s, members),
    events = greatest(events, %(events)s),
    storage_bytes = coalesce(%(storage_bytes)s, storage_bytes),
    others = others || %(others)s::jsonb,
    measured_at = CASE WHEN %(is_whole)s THEN now() ELSE measured_at END
WHERE tenant_id = %(tenant)s AND day = %(day)s
"""


def measure_due(seconds: float) -> int:
    """Visit the tenants that are due, for as long as `seconds`; how many were visited. Called in control."""
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until and (claimed := _claim()):
        while claimed and time.monotonic() < until:
            tenant_id = claimed.pop(0)
            try:
                _visit(directory.by_id(tenant_id))
            except (Error, TenantryError) as error:  # it is gone or can't be reached
                log.warning("usage_not_measured", tenant=tenant_id, error=type(error).__name__)
            except Exception:
                log.exception("usage_not_measured", tenant=tenant_id)
            count += 1
        if claimed:  # they are the first ones next time
            UsageDay.objects.filter(tenant_id__in=claimed, day=usage.today()).update(visited_at=None)
    return count


def measure_soon(ref: TenantRef) -> bool:
    """Visit the active tenant now, unless somebody has within SOON; whether it was visited. Raises django.db.DatabaseError."""
    facts: dict[str, Any] = {"tenant": ref.id, "day": usage.today(), "every": SOON}
    with context.use_control(), connection.cursor() as cursor:
        cursor.execute(_CLAIM_ONE, facts)
        is_mine = cursor.fetchone() is not None
    if is_mine:
        _visit(ref)
    return is_mine


def _claim() -> list[str]:
    """The ids of the next tenants. Of two who chose the same ones at once each is one's; whoever gets none leaves the rest to the other."""
    facts: dict[str, Any] = {"day": usage.today(), "every": EVERY, "count": AT_ONCE}
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, facts)
        return [str(tenant_id) for (tenant_id,) in cursor.fetchall()]


def _visit(ref: TenantRef) -> None:
    today = usage.today()
    yesterday = today - timedelta(days=1)
    with context.use_tenant(ref), reads.reads_from_replica():
        now = _measured(ref, today, all_meters())
        # What came to the log after midnight may be of the day before.
        late = _measured(ref, yesterday, [each for each in all_meters() if each.is_daily])
    with context.use_control():
        _keep(ref, today, now)
        if any(late.values()):  # on which nobody may have visited it
            UsageDay.objects.get_or_create(tenant_id=ref.id, day=yesterday)
        _keep(ref, yesterday, late)


def _measured(ref: TenantRef, day: date, meters: list[Meter]) -> dict[str, int]:
    """What the meters find. One that fails, as when there is too much to count in time, keeps its former number."""
    found: dict[str, int] = {}
    for each in meters:
        if each.measure is not None:
            try:
                with reads.bounded_cursor(STATEMENT_SECONDS) as cursor:
                    found[each.name] = int(each.measure(cursor, day))
            except (Error, OSError, TenantryError) as error:
                log.warning("meter_failed", tenant=ref.slug, meter=each.name, error=type(error).__name__)
            except Exception:  # an app's own: the others' numbers are kept
                log.exception("meter_failed", tenant=ref.slug, meter=each.name)
    return found


def _keep(ref: TenantRef, day: date, found: Mapping[str, int]) -> None:
    if not found:
        return
    columns = {name: found.get(name) for name in ("members", "events", "storage_bytes")}
    others = {name: number for name, number in found.items() if name not in columns}
    is_whole = None not in columns.values()
    facts: dict[str, Any] = {**columns, "is_whole": is_whole, "others": connection.ops.adapt_json_value(others, None)}
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, {**facts, "tenant": ref.id, "day": day})


def prune() -> int:
    """Throw away the days that are older than KEPT, and what is known of processes that ended long ago; how many days.

    Called in control.
    """
    UsageWriter.objects.filter(flushed_at__lt=Now() - timedelta(days=2)).delete()
    removed = 0
    while True:
        old = UsageDay.objects.filter(day__lt=usage.today() - KEPT).order_by("day", "id")
        ids = list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE])
        if not ids:
            return removed
        removed += UsageDay.objects.filter(pk__in=ids).delete()[0]
