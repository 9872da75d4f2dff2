"""Tenantry's own meters, but for members, whom accounts knows: events, storage, and what is counted where it happens."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from activity.models import Rollup
from activity.usage.meters import Meter, add, meter
from tenants import disk

_EVENTS: Final = """
SELECT coalesce(sum(events), 0) FROM activity_rollup
WHERE series = ANY(%(series)s) AND start >= %(start)s AND start < %(end)s
"""


@meter("events", title="Events", is_daily=True)
def events(cursor: Any, day: date) -> int:
    """Events of the day in the activity log, of every kind, by when they happened."""
    start = datetime.combine(day, time(), UTC)
    series = [int(Rollup.Series.ACTION_HOURS), int(Rollup.Series.ACTION_DAYS)]
    cursor.execute(_EVENTS, {"series": series, "start": start, "end": start + timedelta(days=1)})
    return int(cursor.fetchone()[0])


@meter("storage_bytes", title="Storage", unit="bytes")
def storage(cursor: Any, day: date) -> int:
    """The database and the files."""
    return disk.database_bytes(cursor) + disk.file_bytes()


add(Meter("requests", "Requests", "number", is_daily=True, measure=None))
add(Meter("job_seconds", "Time of jobs", "seconds", is_daily=True, measure=None))
