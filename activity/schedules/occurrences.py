"""When a recurrence comes next: pure functions of a moment and a time zone.

A day's local time that doesn't exist that day, because the clocks are put forward over it, stands for the first moment after the gap. One
that comes twice, because they are put back, counts the first time. What recurs each hour comes whenever the clock shows its minute, so that
a day of 25 hours has 25 of them.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from activity.schedules.recurrence import Every, Recurrence


def next_occurrence(recurrence: Recurrence, zone: ZoneInfo, *, after: datetime) -> datetime:
    """The first moment of the recurrence, in UTC, that comes after `after`, which knows its zone."""
    if recurrence.every == Every.HOUR:
        return _next_minute(recurrence.minute or 0, zone, after)
    assert recurrence.at is not None
    # A day earlier: what falls into a gap at the end of a day comes on the next one.
    start = after.astimezone(zone).date() - timedelta(days=1)
    for day in _days(recurrence, start):
        moment = moment_of(day, recurrence.at, zone)
        if moment > after:
            return moment
    raise AssertionError("days don't end")


def moment_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, at which the clocks of the zone show that time on that day, or the first one after the gap that holds it."""
    local = datetime.combine(day, at, tzinfo=zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    # PEP 495: in a gap fold=0 reckons with the offset from before it, which leads behind it, and fold=1 with the later one, which leads
    # before it. The change lies between the two.
    return _change_between(local.replace(fold=1).astimezone(UTC), moment, zone)


def _change_between(before: datetime, behind: datetime, zone: ZoneInfo) -> datetime:
    """The first second with the offset of `behind`, by halving."""
    offset = behind.astimezone(zone).utcoffset()
    while behind - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(behind - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            behind = middle
        else:
            before = middle
    return behind


def _next_minute(minute: int, zone: ZoneInfo, after: datetime) -> datetime:
    """By single minutes, since a zone may be shifted by half an hour: at most two hours of them."""
    start = after.astimezone(UTC).replace(second=0, microsecond=0)
    moments = (start + timedelta(minutes=passed) for passed in count(1))
    return next(moment for moment in moments if moment.astimezone(zone).minute == minute)


def _days(recurrence: Recurrence, start: date) -> Iterator[date]:
    """The days on which it comes, from `start` on (a month's: from the beginning of its month)."""
    if recurrence.day is not None:
        return _days_of_months(recurrence.day, start)
    if recurrence.weekday is None:
        return (start + timedelta(days=days) for days in count())
    wait = (recurrence.weekday - start.weekday()) % 7
    return (start + timedelta(days=days) for days in count(wait, 7))


def _days_of_months(day: int, start: date) -> Iterator[date]:
    for month in count(start.year * 12 + start.month - 1):
        year, number = month // 12, month % 12 + 1
        yield date(year, number, min(day, monthrange(year, number)[1]))
