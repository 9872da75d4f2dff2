"""What the rollups say, and the same counted by hand from the log."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from activity.models import Rollup
from tenants.refs import TenantRef
from tests.activity.conftest import logged

Counts = Counter[tuple[str, str, str]]


def recount(ref: TenantRef) -> Counts:
    """Every event that MongoDB has, by day and action, and by day and actor."""
    counts: Counts = Counter()
    for document in logged(ref):
        day, actor = document["at"].strftime("%Y-%m-%d"), document["actor"]
        counts["action", day, document["action"]] += 1
        counts["actor", day, f"{actor['type']}:{actor['id']}"] += 1
    return counts


def recount_hours(ref: TenantRef, *, since: datetime) -> Counts:
    """The same by hour and action."""
    hours = [(f"{document['at']:%Y-%m-%d %H}", document) for document in logged(ref) if document["at"] >= since]
    return Counter(("action", hour, document["action"]) for hour, document in hours)


def counted() -> Counts:
    """The active tenant's rollups by day, hours among them."""
    counts: Counts = Counter()
    for row in Rollup.objects.all():
        kind = "actor" if row.series == Rollup.Series.ACTOR_DAYS else "action"
        counts[kind, f"{row.start.astimezone(UTC):%Y-%m-%d}", row.name] += row.events
    return counts


def counted_hours() -> Counts:
    """The active tenant's rollups by hour."""
    rows = Rollup.objects.filter(series=Rollup.Series.ACTION_HOURS)
    return Counter({("action", f"{row.start.astimezone(UTC):%Y-%m-%d %H}", row.name): row.events for row in rows})
