"""What waits in one outbox: how many events, since when, and how much of the disk they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
from django.conf import settings
from django.db import connection

log = structlog.get_logger(__name__)

COUNTED: Final = 10_000  # events; of more it is said how many there are at most, since to count them takes its time
WORTH_A_VACUUM: Final = 32 * 1024 * 1024  # bytes of a table that is all but empty

# The size is that of the table with its TOAST, which a VACUUM gives back. Its indexes add about an eighth.
_MEASURE: Final = """
WITH oldest AS (SELECT id, recorded_at FROM activity_outboxevent ORDER BY id LIMIT 1),
     counted AS (SELECT count(*) AS events FROM (SELECT FROM activity_outboxevent LIMIT %s + 1) AS few)
SELECT CASE WHEN events > %s THEN (SELECT max(id) FROM activity_outboxevent) - (SELECT id FROM oldest) + 1 ELSE events END,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM oldest), 0)::float8,
       pg_table_size('activity_outboxevent')
FROM counted
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the outbox of a tenant (or control): events, the age of the oldest one in seconds, bytes of the table."""

    owner: str
    server: str
    pending: int
    oldest_seconds: float
    bytes: int


def measure(*, owner: str, server: str) -> Backlog:
    """What waits in the outbox of the tenant that is active, or of control: one query, however much it is."""
    with connection.cursor() as cursor:
        cursor.execute(_MEASURE, [COUNTED, COUNTED])
        pending, oldest, size = cursor.fetchone()
    return Backlog(owner, server, int(pending), max(0.0, float(oldest)), int(size))


def bytes_here() -> int:
    """The size of the active tenant's outbox."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_table_size('activity_outboxevent')")
        return int(cursor.fetchone()[0])


def worth_a_vacuum() -> int:
    """The bytes from where on an outbox is looked after: whoever sets a low alarm wants it to end, too."""
    return min(WORTH_A_VACUUM, settings.OUTBOX_ALARM_MB * 1024 * 1024)


def give_back(backlog: Backlog) -> None:
    """Give the disk back that a backlog took which has been relayed. To be called outside of a transaction.

    Postgres would do so by itself, but with thousands of databases a table's turn may come hours later.
    """
    if (
        backlog.bytes < worth_a_vacuum() or backlog.pending * 64 > backlog.bytes // 1024
    ):  # more than one event for 64 KiB
        return
    with connection.cursor() as cursor:
        cursor.execute("VACUUM activity_outboxevent")
    log.info("outbox_vacuumed", owner=backlog.owner, bytes=backlog.bytes, left=bytes_here())
