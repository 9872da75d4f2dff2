"""The relay: takes events from the outbox to the log, each once, in order, without a gap.

1. Lock the head, drop what the log has already, give the oldest rows their number and hash, advance the head; commit.
2. Append all numbered rows to the log, the lowest number first. To append a row again changes nothing.
3. Delete exactly those rows, note how far the log goes, and sign a checkpoint; commit.

Killed after 1, numbers and hashes are in the rows, and whoever comes next appends them as they are. Killed during or after 2, the same.
A row is deleted only when the log has acknowledged it. Rows are numbered by their identity, oldest first: when X's commit returned before
Y's transaction began, X has the lower number. A row that commits late with a low identity is simply the oldest of the next round.

Where the log and this database contradict one another, as after a restore of one of them, a new segment of the chain is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest

from activity import log as activity_log
from activity import segments
from activity.chain.links import canonical, link
from activity.errors import SegmentEnded, SequenceConflict
from activity.models import LogHead, OutboxEvent
from tenants import metrics
from tenants.refs import Ref

log = structlog.get_logger(__name__)

BATCH: Final = 1_000
MAX_OPENINGS: Final = 3  # of segments, in one run

# A relay whose process is stopped in mid-transaction must not hold the others up: Postgres ends it. A late append of its does no harm.
_LET_GO: Final = "set_config('idle_in_transaction_session_timeout', '30s', true)"

_NUMBER: Final = """
UPDATE activity_outboxevent AS row SET seq = %s + numbered.position, hash = numbered.hash
FROM unnest(%s::bigint[], %s::bytea[]) WITH ORDINALITY AS numbered (id, hash, position) WHERE row.id = numbered.id
"""


@dataclass(frozen=True, slots=True)
class Relayed:
    """How many events were appended, how many were dropped since the log had them, and whether the outbox was empty at the end."""

    appended: int
    dropped: int
    emptied: bool = True


def relay(ref: Ref) -> Relayed:
    """Empty the outbox of the active tenant (or control), `ref`, into the log. Any number may run at once.

    Raises LogUnavailable, with what isn't in the log still in the outbox, and SequenceConflict when new segments don't help.
    """
    appended = dropped = openings = 0
    emptied = True
    while OutboxEvent.objects.exists():
        try:
            dropped += _number(ref)
            count = _append(ref)
        except (SegmentEnded, SequenceConflict) as reason:
            openings += 1
            if openings > MAX_OPENINGS:
                raise
            log.info("segment_ends", reason=reason.message)
            if segments.open_segment(ref, by_conflict=isinstance(reason, SequenceConflict)):
                continue
            count = None
        if count is None:
            # Another relay is appending. It looks at the outbox again after that, and our numbers are committed: it will see them.
            emptied = False
            break
        appended += count
    if appended or dropped:
        log.info("activity_relayed", appended=appended, dropped=dropped)
        metrics.EVENTS_APPENDED.inc(appended)
    return Relayed(appended, dropped, emptied)


def _number(ref: Ref) -> int:
    """Give the oldest rows their numbers and hashes; returns how many the log had already, which are dropped. Raises SegmentEnded."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {_LET_GO}")
        head = segments.locked_head()
        rows = list(
            OutboxEvent.objects.filter(seq=None).order_by("id").values_list("id", "event_id", "document")[:BATCH]
        )
        if not rows:
            return 0
        if head.route != segments.route(ref):
            raise SegmentEnded("the database's route is another one")
        # Before they are numbered: a number given to an event that has one already would stay a gap.
        held = activity_log.numbers_of(ref, [event_id for _, event_id, _ in rows])
        if head.seq + 1 in held.values():
            raise SegmentEnded("the log is ahead of the head")
        if held:
            OutboxEvent.objects.filter(event_id__in=held).delete()
        fresh = [(row_id, document) for row_id, event_id, document in rows if event_id not in held]
        links, end = [], bytes(head.hash)
        for seq, (_, document) in enumerate(fresh, start=head.seq + 1):
            end = link(end, canonical({**document, "seq": seq}))
            links.append(end)
        with connection.cursor() as cursor:
            cursor.execute(_NUMBER, [head.seq, [row_id for row_id, _ in fresh], links])
        LogHead.objects.update(seq=head.seq + len(fresh), hash=end)
    return len(held)


def _append(ref: Ref) -> int | None:
    """Append the numbered rows and delete them; returns how many, or None while another relay does the same.

    The lock only saves doing it twice, and ends with its holder, however that ends.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_try_advisory_xact_lock(%s), {_LET_GO}", [segments.APPENDING])
            if not cursor.fetchone()[0]:
                return None
        rows = list(OutboxEvent.objects.filter(seq__isnull=False).order_by("seq")[:BATCH])
        if not rows:
            return 0
        activity_log.append(ref, [{**row.document, "seq": row.seq, "hash": row.hash} for row in rows])
        OutboxEvent.objects.filter(pk__in=[row.pk for row in rows]).delete()
        LogHead.objects.update(appended=Greatest(F("appended"), rows[-1].seq))
        segments.extend(ref, [(row.seq or 0, bytes(row.hash or b"")) for row in rows])
    return len(rows)
