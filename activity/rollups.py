"""Counts of the log by hour and day, action and actor, in the tenant's database, kept exact by the relay.

They say themselves what they count: the events numbered `first` to `last` (RollupHead), each once. The relay moves `last` on in the
transaction that deletes the rows it appended, so a relay that is killed has counted and deleted them, or neither. `catch_up` moves
`first` down to where the log begins, for a log that is older than its counts. A step is one statement: it moves the head from where
it was thought to be, adds its counts if that was so, and changes nothing otherwise. All that changes counts has the head's row locked.

An event is counted at its `at`, which a sender gives, and which may be years ago or to come. Hours are kept for HOURS_KEPT days;
what is older is counted by day at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from django.db import connection, transaction

from activity import log as activity_log
from activity.models import LogHead, Rollup, RollupHead
from tenants.refs import Ref

log = structlog.get_logger(__name__)

HOURS_KEPT: Final = 35  # days
PORTION: Final = 1_000  # events that are counted at once when they are read from the log
TASK: Final = "activity.rollups"  # the task that catches up and folds

# By series, start (as text) and name.
Counts = Counter[tuple[int, str, str]]

_ADD: Final = """
INSERT INTO activity_rollup AS rollup (series, start, name, events)
SELECT * FROM unnest(%(series)s::smallint[], %(starts)s::timestamptz[], %(names)s::text[], %(events)s::bigint[])
    AS counted (series, start, name, events)
WHERE EXISTS (SELECT FROM head) ORDER BY series, start, name
ON CONFLICT (series, start, name) DO UPDATE SET events = rollup.events + excluded.events
"""
_EXTEND: Final = f"""
WITH head AS (
    INSERT INTO activity_rolluphead AS head (id, bottom, first, last) VALUES (1, 1, %(first)s, %(last)s)
    ON CONFLICT (id) DO UPDATE SET last = excluded.last WHERE head.last = excluded.first - 1 RETURNING id
) {_ADD}"""  # noqa: S608  constants alone
_LOWER: Final = f"""
WITH head AS (UPDATE activity_rolluphead SET first = %(to)s WHERE first = %(former)s RETURNING id) {_ADD}"""  # noqa: S608  constants alone
_RAISE: Final = f"""
WITH head AS (
    UPDATE activity_rolluphead SET bottom = %(to)s, first = %(to)s WHERE bottom = %(former)s AND first = %(former)s RETURNING id
) {_ADD}"""  # noqa: S608  constants alone
_FOLD: Final = """
WITH old AS (
    DELETE FROM activity_rollup WHERE series = %(hours)s AND start < %(since)s RETURNING start, name, events
)
INSERT INTO activity_rollup AS rollup (series, start, name, events)
SELECT %(days)s, date_trunc('day', start, 'UTC'), name, sum(events) FROM old GROUP BY 2, 3 ORDER BY 2, 3
ON CONFLICT (series, start, name) DO UPDATE SET events = rollup.events + excluded.events
"""


def hours_since() -> datetime:
    """The first moment for which there are hours."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=HOURS_KEPT)


# --- Counting --------------------------------------------------------------------------------------------------------------


class Appended(Protocol):
    """A numbered row of the outbox that the log has acknowledged."""

    @property
    def seq(self) -> int | None: ...
    @property
    def document(self) -> Any: ...


def count(rows: Sequence[Appended]) -> None:
    """Count events that were appended, in the order of their numbers, in the transaction that deletes their rows.

    Those that are counted already don't count again. Where numbers are missing before them, as after a restore, the counts begin anew
    with them, and `catch_up` counts the rest.
    """
    if _extend(rows):
        return
    head = RollupHead.objects.select_for_update().get()
    rows = [row for row in rows if (row.seq or 0) > head.last]
    if not rows:
        return
    if rows[0].seq != head.last + 1:
        _begin_anew((rows[0].seq or 0) - 1)
    _extend(rows)


def catch_up(ref: Ref) -> int:
    """Count the events of the active tenant's log, `ref`, that are older than its counts; returns how many. Raises LogUnavailable.

    Any number may run at once: a portion is counted by whoever comes first.
    """
    counted = 0
    head = _settled()
    while head.first > head.bottom:
        to = max(head.bottom, head.first - PORTION)
        events = activity_log.facts(ref, to, head.first - 1)
        if _run(_LOWER, tally(events), former=head.first, to=to):
            counted += len(events)
        head = RollupHead.objects.get()
    if counted:
        log.info("rollups_caught_up", events=counted)
    return counted


def leave(ref: Ref, last: int) -> None:
    """Take the events up to number `last` out of the counts, before they are removed from the log. Raises LogUnavailable.

    To be called again after it failed, before anything of them is removed.
    """
    catch_up(ref)
    head = RollupHead.objects.get()
    while head.bottom <= min(last, head.last):
        to = min(last, head.last, head.bottom + PORTION - 1) + 1
        leaving = tally(activity_log.facts(ref, head.bottom, to - 1))
        _run(_RAISE, Counter({key: -number for key, number in leaving.items()}), former=head.bottom, to=to)
        head = RollupHead.objects.get()


def fold() -> None:
    """Fold the hours that are old enough into their days, and drop what came to nothing."""
    series = {"hours": Rollup.Series.ACTION_HOURS.value, "days": Rollup.Series.ACTION_DAYS.value}
    with transaction.atomic():
        RollupHead.objects.select_for_update().first()
        with connection.cursor() as cursor:
            cursor.execute(_FOLD, {**series, "since": hours_since()})
        Rollup.objects.filter(events=0).delete()


def is_complete(*, first: int, last: int) -> bool:
    """Whether the counts have all of a log whose events are numbered `first` to `last`."""
    head = RollupHead.objects.first()
    return last < first if head is None else head.first <= head.bottom and head.last >= last


# --- What is counted -------------------------------------------------------------------------------------------------------


def tally(events: Iterable[Mapping[str, Any]]) -> Counts:
    """The counts of events in their normal form."""
    since = hours_since().isoformat()[:10]
    actions: Counter[tuple[str, str]] = Counter()
    actors: Counter[tuple[str, str]] = Counter()
    for event in events:
        at, actor = event["at"], event["actor"]
        day = at[:10]
        actions[at[:13] if day >= since else day, event["action"]] += 1
        actors[day, f"{actor['type']}:{actor['id']}"] += 1
    counts: Counts = Counter()
    for (start, action), number in actions.items():
        if len(start) > 10:
            counts[Rollup.Series.ACTION_HOURS, f"{start}:00Z", action] = number
        else:
            counts[Rollup.Series.ACTION_DAYS, f"{start}T00:00Z", action] = number
    for (day, actor), number in actors.items():
        counts[Rollup.Series.ACTOR_DAYS, f"{day}T00:00Z", actor] = number
    return counts


def _extend(rows: Sequence[Appended]) -> bool:
    """Count the rows, if they follow on what is counted; returns whether they did."""
    return _run(_EXTEND, tally(row.document for row in rows), first=rows[0].seq, last=rows[-1].seq)


def _run(statement: str, counts: Counts, **moved: Any) -> bool:
    """Move the head and add the counts, or neither; returns whether counts were added."""
    keys = list(counts)
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                **moved,
                "series": [int(series) for series, _, _ in keys],
                "starts": [start for _, start, _ in keys],
                "names": [name for _, _, name in keys],
                "events": [counts[key] for key in keys],
            },
        )
        return bool(cursor.rowcount > 0)


def _settled() -> RollupHead:
    """The head, made if there is none, and begun anew when the log goes elsewhere than the counts do."""
    with transaction.atomic():
        head = RollupHead.objects.select_for_update().first()
        bottom, appended = LogHead.objects.values_list("first", "appended").first() or (1, 0)
        if head is None:
            fresh = RollupHead(bottom=bottom, first=appended + 1, last=appended)
            RollupHead.objects.bulk_create([fresh], ignore_conflicts=True)
            return RollupHead.objects.select_for_update().get()
        if head.last != appended:
            _begin_anew(appended)
            head.refresh_from_db()
        return head


def _begin_anew(last: int) -> None:
    """Drop all counts, to count what is numbered above `last` as it comes and the rest from the log. The head is locked."""
    log.warning("rollups_begin_anew", last=last)
    Rollup.objects.all().delete()
    bottom = LogHead.objects.values_list("first", flat=True).first() or 1
    RollupHead.objects.update(bottom=bottom, first=last + 1, last=last)
