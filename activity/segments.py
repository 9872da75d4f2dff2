"""The segments of the chain in Postgres: opening one, and the signed checkpoints that follow the log.

A segment goes on while the tenant's database stays where it is (its route's epoch, the cluster, the timeline) and the log isn't ahead of
it. Where they may have parted, after a restore, a failover or a clone, the relay opens a new segment: it takes in what the log has beyond
the last checkpoint, and says so in a signed statement, which `verify` accepts. So nothing stops for ever, and nothing is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from activity import log as activity_log
from activity.canonical import moment_text
from activity.chain.keys import ring
from activity.chain.links import PRINT, canonical, link, opening_link
from activity.chain.statements import Checkpoint, Opening, Reason, Signed
from activity.errors import SegmentEnded
from activity.log import fields_of
from activity.models import LogCheckpoint, LogHead, LogSegment, OutboxEvent
from tenants.refs import Ref, TenantRef

log = structlog.get_logger(__name__)

APPENDING: Final = 7_203_101  # the key of the advisory lock of whoever appends; such locks are each database's own
SPAN: Final = 1_000  # events of a checkpoint, after which the next one begins
GROWS_FOR: Final = timedelta(days=1)

# Where this database is. The name of the current segment of its write-ahead log begins with the timeline.
_ROUTE: Final = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8)
"""


def route(ref: Ref) -> str:
    """Whose the database of the active tenant (or control), `ref`, is, and where: id, epoch, cluster and timeline."""
    with connection.cursor() as cursor:
        cursor.execute(_ROUTE)
        cluster, timeline = cursor.fetchone()
    return f"{ref.id}/{ref.epoch if isinstance(ref, TenantRef) else 0}/{cluster}/{int(timeline, 16)}"


def locked_head() -> LogHead:
    """The head, locked until the transaction ends."""
    head = LogHead.objects.select_for_update().first()
    if head is None:
        LogHead.objects.bulk_create([LogHead()], ignore_conflicts=True)
        head = LogHead.objects.select_for_update().get()
    return head


def open_segment(ref: Ref, *, by_conflict: bool = False) -> bool:
    """Open the next segment, behind whatever the log has. Rows that were numbered and not acknowledged lose their numbers.

    Nothing happens when another relay has just done so, unless a conflict shows that it didn't help. Returns False while another appends.
    Raises LogUnavailable, and SegmentEnded when the log changes meanwhile.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:  # in the order in which the relay takes both locks
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [APPENDING])
            if not cursor.fetchone()[0]:
                return False
        head = locked_head()
        here = route(ref)
        if not by_conflict and head.route == here and activity_log.end_of_run(ref, after=head.seq) == head.seq:
            return True
        number, previous, reason = _what_is_before(ref, head, here)
        sealed = previous[0] if previous else head.first - 1
        OutboxEvent.objects.filter(seq__isnull=False).update(seq=None, hash=None)
        found = activity_log.end_of_run(ref, after=sealed)
        if found > sealed and previous:
            reason = "restored"
        opening = Opening(
            tenant=ref.id, segment=number, first=sealed + 1, adopted=found, reason=reason, route=here,
            previous=previous, at=_now(),
        )  # fmt: skip
        signed = Signed.of(opening.statement(), ring(settings.ACTIVITY_SIGNING_KEYS))
        LogSegment.objects.create(number=number, first=opening.first, **_columns(signed))
        end = _adopt(ref, opening, opening_link(signed.statement))
        LogHead.objects.update(seq=found, appended=found, first=head.first, hash=end, segment=number, route=here)
    tell = log.warning if found > sealed else log.info
    tell("log_segment_opened", segment=number, first=opening.first, adopted=found - sealed, reason=reason)
    return True


def _what_is_before(ref: Ref, head: LogHead, here: str) -> tuple[int, tuple[int, str] | None, Reason]:
    """The new segment's number, where the chain ended before it (number and hash), and why it is opened."""
    former = LogSegment.objects.order_by("-number").first()
    if former is None:
        return 1, None, "started"
    if (
        Opening.said(orjson.loads(bytes(former.statement))).tenant != ref.id
    ):  # this database is a copy: the log of its origin isn't this tenant's
        LogSegment.objects.all().delete()
        LogCheckpoint.objects.all().delete()
        head.first = head.appended + 1
        return 1, None, "cloned"
    last = LogCheckpoint.objects.order_by("-last").first()
    reason: Reason = "rerouted" if head.route != here else "restored"
    if last is None or last.last < former.first:  # nothing has come since the former one was opened
        return former.number + 1, (former.first - 1, opening_link(bytes(former.statement)).hex()), reason
    return former.number + 1, (last.last, bytes(last.hash).hex()), reason


def _adopt(ref: Ref, opening: Opening, end: bytes) -> bytes:
    """Sign what the log has already, from the opening on; returns the last link."""
    position = opening.first
    for documents in activity_log.stored(ref, first=opening.first, last=opening.adopted):
        links = []
        for document in documents:
            end = link(end, canonical(fields_of(document)))
            links.append((document["seq"], end))
        if [seq for seq, _ in links] != list(range(position, position + len(links))):
            raise SegmentEnded("the log changed while it was read")
        _checkpoint(ref, opening.segment, links)
        position += len(links)
    if position != opening.adopted + 1:
        raise SegmentEnded("the log changed while it was read")
    return end


def extend(ref: Ref, rows: Sequence[tuple[int, bytes]]) -> None:
    """Have a signed checkpoint reach to the last of the rows, (number, hash), that the log has acknowledged. In the relay's transaction."""
    segment = LogHead.objects.values_list("segment", flat=True).get()
    newest = LogCheckpoint.objects.order_by("-last").first()
    if newest is not None and _may_grow(newest, segment, len(rows)):
        _grow(ref, newest, rows)
    else:
        _checkpoint(ref, segment, rows)


def _may_grow(newest: LogCheckpoint, segment: int, count: int) -> bool:
    return (
        newest.segment == segment
        and newest.last - newest.first + 1 + count <= SPAN
        and timezone.now() - newest.opened_at < GROWS_FOR
    )


def _checkpoint(ref: Ref, segment: int, links: Sequence[tuple[int, bytes]]) -> None:
    point = Checkpoint(ref.id, segment, links[0][0], links[-1][0], links[-1][1], _now(), _prints(links))
    signed = Signed.of(point.statement(), ring(settings.ACTIVITY_SIGNING_KEYS))
    LogCheckpoint.objects.create(
        last=point.last, first=point.first, segment=segment, hash=point.hash, prints=point.prints, **_columns(signed)
    )


def _grow(ref: Ref, newest: LogCheckpoint, links: Sequence[tuple[int, bytes]]) -> None:
    prints = bytes(newest.prints) + _prints(links)
    point = Checkpoint(ref.id, newest.segment, newest.first, links[-1][0], links[-1][1], _now(), prints)
    signed = Signed.of(point.statement(), ring(settings.ACTIVITY_SIGNING_KEYS))
    LogCheckpoint.objects.filter(pk=newest.pk).update(
        last=point.last, hash=point.hash, prints=prints, at=timezone.now(), **_columns(signed)
    )


def _prints(links: Sequence[tuple[int, bytes]]) -> bytes:
    return b"".join(end[:PRINT] for _, end in links)


def _columns(signed: Signed) -> dict[str, bytes | str]:
    return {"statement": signed.statement, "key": signed.key, "signature": signed.signature}


def _now() -> str:
    return moment_text(datetime.now(UTC))
