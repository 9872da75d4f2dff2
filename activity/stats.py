"""Counts of the log for a chart: how many events of which actions in each hour or day, and who did most.

All of it is read from the rollups; the work is bounded by the number of buckets, whatever the log holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour

from activity import rollups
from activity.errors import StatsInvalid
from activity.models import Rollup
from activity.search import Query
from activity.selectors import log_bounds
from tenants import hints
from tenants.context import current

By = Literal["hour", "day"]

STEPS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
MOST: Final = {"hour": 31 * 24, "day": 366}  # buckets of one answer
USUAL: Final = {"hour": 48, "day": 14}
TOP_ACTIONS: Final = 6
TOP_ACTORS: Final = 10
# A page's chart shows hours for a range of at most so many buckets of them.
HOURS_ON_PAGE: Final = 72

Series = Rollup.Series


@dataclass(frozen=True, slots=True)
class Line:
    """An action, or with None all that aren't named, and how many events there were in each bucket."""

    action: str | None
    total: int
    counts: list[int]


@dataclass(frozen=True, slots=True)
class ActorTotal:
    """How many events somebody caused. `name` is a member's name as it is now, else empty."""

    type: str
    id: str
    name: str
    total: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts for a range of buckets, which are told by when they begin, in UTC."""

    by: By
    is_complete: bool  # False while the events of an older log are still being counted
    total: int
    buckets: list[datetime]
    actions: list[Line]
    actors: list[ActorTotal] | None  # None when an action was asked for: who did what isn't counted

    def rows(self) -> Iterator[tuple[datetime, int, list[int]]]:
        """For each bucket its begin, its total, and the counts by action."""
        for index, start in enumerate(self.buckets):
            counts = [line.counts[index] for line in self.actions]
            yield start, sum(counts), counts


def activity_stats(*, start: datetime | None, end: datetime | None, by: By = "day", action: str | None = None) -> Stats:
    """The counts of the active tenant in the buckets from the one that `start` is in to the one that `end` is in.

    Without an end it is now, without a start a usual range before the end. Raises StatsInvalid.
    """
    buckets = _buckets(start, end, by)
    counted = _counted(by, buckets, action)
    bucket = (TruncHour if by == "hour" else TruncDay)("start", tzinfo=UTC)
    totals = dict(counted.annotate(bucket=bucket).values_list("bucket").annotate(Sum("events")))
    top = dict(counted.values_list("name").annotate(total=Sum("events")).order_by("-total", "name")[:TOP_ACTIONS])
    found: dict[str, dict[datetime, int]] = defaultdict(dict)
    named = counted.filter(name__in=list(top)).annotate(bucket=bucket)
    for name, moment, number in named.values_list("name", "bucket").annotate(Sum("events")):
        found[name][moment] = number
    lines = [
        Line(name, total, [found[name].get(moment, 0) for moment in buckets]) for name, total in top.items() if total
    ]
    others = [totals.get(moment, 0) - sum(line.counts[index] for line in lines) for index, moment in enumerate(buckets)]
    if any(others):
        lines.append(Line(None, sum(others), others))
    oldest, newest = log_bounds(current())
    is_complete = rollups.is_complete(first=oldest, last=newest)
    if not is_complete:
        hints.send(rollups.TASK)
    return Stats(by, is_complete, sum(totals.values()), buckets, lines, None if action else _actors(buckets))


def stats_of_query(query: Query) -> Stats | None:
    """What a page's chart shows beside the events of a query; None when the query asks for what isn't counted."""
    if query.actor or query.target or query.source or query.q:
        return None
    if query.start and query.end and query.start > query.end:
        return None
    end = query.end or datetime.now(UTC)
    start = query.start or _before(end, STEPS["day"] * (USUAL["day"] - 1))
    if start > end:  # what is asked for is yet to come
        end = _after(start, STEPS["day"] * (USUAL["day"] - 1))
    is_short = end - start < STEPS["hour"] * HOURS_ON_PAGE
    by: By = "hour" if is_short and start >= rollups.hours_since() else "day"
    return activity_stats(
        start=max(start, _before(end, STEPS["day"] * (MOST["day"] - 1))), end=end, by=by, action=query.action
    )


def _buckets(start: datetime | None, end: datetime | None, by: By) -> list[datetime]:
    step = STEPS[by]
    end = _floor(end or datetime.now(UTC), by)
    start = _floor(start, by) if start else _before(end, step * (USUAL[by] - 1))
    if start > end:
        raise StatsInvalid({"from": ["The range ends before it begins."]})
    count = (end - start) // step + 1
    if count > MOST[by]:
        raise StatsInvalid({"from": [f"Ask for at most {MOST[by]} {by}s at once; this range has {count}."]})
    if by == "hour" and start < rollups.hours_since():
        raise StatsInvalid({"from": [f"Hours are counted for the last {rollups.HOURS_KEPT} days; ask with by=day."]})
    return [start + step * number for number in range(count)]


def _counted(by: By, buckets: list[datetime], action: str | None) -> QuerySet[Rollup]:
    series = [Series.ACTION_HOURS] if by == "hour" else [Series.ACTION_HOURS, Series.ACTION_DAYS]
    # Of the last day all hours; a last hour is a row of its own.
    last = buckets[-1].replace(hour=23) if by == "day" else buckets[-1]
    counted = Rollup.objects.filter(series__in=series, start__gte=buckets[0], start__lte=last)
    if not action:
        return counted
    return counted.filter(Q(name__startswith=action) if action.endswith(".") else Q(name=action))


def _actors(buckets: list[datetime]) -> list[ActorTotal]:
    """Who did most in the days that the buckets lie in."""
    days = Rollup.objects.filter(
        series=Series.ACTOR_DAYS, start__gte=_floor(buckets[0], "day"), start__lte=_floor(buckets[-1], "day")
    )
    top = days.values_list("name").annotate(total=Sum("events")).order_by("-total", "name")[:TOP_ACTORS]
    found = [(*name.partition(":")[::2], total) for name, total in top if total]
    names = _member_names([actor_id for kind, actor_id, _ in found if kind == "member"])
    return [
        ActorTotal(kind, actor_id, names.get(actor_id, "") if kind == "member" else "", total)
        for kind, actor_id, total in found
    ]


def _member_names(ids: list[str]) -> dict[str, str]:
    valid = [member_id for member_id in ids if _is_uuid(member_id)]
    users: Any = get_user_model()._default_manager.filter(pk__in=valid)
    return {str(user.pk): user.get_full_name() for user in users}


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _floor(moment: datetime, by: By) -> datetime:
    moment = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return moment if by == "hour" else moment.replace(hour=0)


def _before(moment: datetime, time: timedelta) -> datetime:
    return moment - time if moment - datetime.min.replace(tzinfo=UTC) > time else datetime.min.replace(tzinfo=UTC)


def _after(moment: datetime, time: timedelta) -> datetime:
    return moment + time if datetime.max.replace(tzinfo=UTC) - moment > time else datetime.max.replace(tzinfo=UTC)
