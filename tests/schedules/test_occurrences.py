"""When a recurrence comes next, in every time zone, on the days when the clocks are changed too."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activity.schedules.occurrences import moment_of, next_occurrence
from activity.schedules.recurrence import Recurrence, recurrence_of
from tenants import time_zones

BERLIN, LORD_HOWE, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/New_York")

zones = st.sampled_from(sorted(time_zones.known())).map(ZoneInfo)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2045, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  the bounds of hypothesis have no zone
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
daily = st.builds(lambda at: Recurrence("day", at=at), times)
weekly = st.builds(lambda weekday, at: Recurrence("week", weekday=weekday, at=at), st.integers(0, 6), times)
monthly = st.builds(lambda day, at: Recurrence("month", day=day, at=at), st.integers(1, 31), times)
hourly = st.builds(lambda minute: Recurrence("hour", minute=minute), st.integers(0, 59))


def series(recurrence: Recurrence, zone: ZoneInfo, after: datetime, count: int) -> list[datetime]:
    found = []
    for _ in range(count):
        after = next_occurrence(recurrence, zone, after=after)
        found.append(after)
    return found


def local(texts: list[datetime], zone: ZoneInfo) -> list[str]:
    return [f"{moment.astimezone(zone):%m-%d %H:%M %z}" for moment in texts]


# --- Named cases ---------------------------------------------------------------------------------------------------------


def test_berlin_puts_its_clocks_forward_and_what_would_be_in_the_gap_runs_at_its_end() -> None:
    found = series(recurrence_of(every="day", at="02:30"), BERLIN, datetime(2026, 3, 28, 0, 0, tzinfo=UTC), 3)
    assert local(found, BERLIN) == ["03-28 02:30 +0100", "03-29 03:00 +0200", "03-30 02:30 +0200"]


def test_berlin_puts_its_clocks_back_and_what_comes_twice_runs_once() -> None:
    found = series(recurrence_of(every="day", at="02:30"), BERLIN, datetime(2026, 10, 24, 0, 0, tzinfo=UTC), 3)
    assert local(found, BERLIN) == ["10-24 02:30 +0200", "10-25 02:30 +0200", "10-26 02:30 +0100"]
    # Between the two, and at the second one, it has been.
    for hour in (0, 1):
        after = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
        assert next_occurrence(recurrence_of(every="day", at="02:30"), BERLIN, after=after).day == 26


def test_half_an_hour_on_lord_howe() -> None:
    spring = series(recurrence_of(every="day", at="02:15"), LORD_HOWE, datetime(2026, 10, 2, 12, 0, tzinfo=UTC), 3)
    assert local(spring, LORD_HOWE) == ["10-03 02:15 +1030", "10-04 02:30 +1100", "10-05 02:15 +1100"]
    autumn = series(recurrence_of(every="day", at="01:45"), LORD_HOWE, datetime(2026, 4, 3, 12, 0, tzinfo=UTC), 3)
    assert local(autumn, LORD_HOWE) == ["04-04 01:45 +1100", "04-05 01:45 +1100", "04-06 01:45 +1030"]


def test_each_hour_of_a_day_of_25() -> None:
    found = series(recurrence_of(every="hour", minute=30), BERLIN, datetime(2026, 10, 24, 22, 0, tzinfo=UTC), 25)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1)}
    assert {moment.astimezone(BERLIN).day for moment in found} == {25}


def test_a_month_that_is_too_short_has_its_last_day() -> None:
    found = series(recurrence_of(every="month", day=31, at="07:00"), BERLIN, datetime(2027, 12, 31, 12, tzinfo=UTC), 5)
    assert [f"{moment.astimezone(BERLIN):%m-%d}" for moment in found] == ["01-31", "02-29", "03-31", "04-30", "05-31"]


@pytest.mark.parametrize(("year", "last"), [(2027, 28), (2028, 29), (2100, 28)])
def test_the_29th_in_a_leap_year_and_in_others(year: int, last: int) -> None:
    after = datetime(year, 1, 29, 12, tzinfo=UTC)
    found = next_occurrence(recurrence_of(every="month", day=29, at="07:00"), BERLIN, after=after)
    assert found.astimezone(BERLIN).date() == date(year, 2, last)


def test_a_week_begins_again_on_its_weekday() -> None:
    monday = recurrence_of(every="week", weekday="monday", at="07:00")
    found = series(monday, NEW_YORK, datetime(2026, 3, 2, 12, 0, tzinfo=UTC), 3)
    assert local(found, NEW_YORK) == ["03-09 07:00 -0400", "03-16 07:00 -0400", "03-23 07:00 -0400"]


def test_a_day_that_samoa_left_out() -> None:
    apia = ZoneInfo("Pacific/Apia")
    found = series(recurrence_of(every="day", at="07:00"), apia, datetime(2011, 12, 29, 20, 0, tzinfo=UTC), 2)
    assert local(found, apia) == ["12-31 00:00 +1400", "12-31 07:00 +1400"]


def test_midnight_that_is_left_out() -> None:
    beirut = ZoneInfo("Asia/Beirut")
    found = series(recurrence_of(every="day", at="00:00"), beirut, datetime(2021, 3, 27, 12, 0, tzinfo=UTC), 2)
    assert local(found, beirut) == ["03-28 01:00 +0300", "03-29 00:00 +0300"]


# --- Properties ------------------------------------------------------------------------------------------------------------


@given(st.one_of(daily, weekly, monthly, hourly), zones, moments)
@settings(max_examples=500, deadline=None)
def test_the_next_one_is_later_and_none_lies_between(recurrence: Recurrence, zone: ZoneInfo, after: datetime) -> None:
    found = next_occurrence(recurrence, zone, after=after)
    assert found > after
    assert found.tzinfo is UTC
    assert (found.second, found.microsecond) == (0, 0)
    # Whoever asks at any time in between gets the same one.
    between = after + (found - after) * 0.7
    assert next_occurrence(recurrence, zone, after=between) == found
    assert next_occurrence(recurrence, zone, after=found) > found


@given(daily, zones, moments)
@settings(max_examples=500, deadline=None)
def test_each_day_has_one(recurrence: Recurrence, zone: ZoneInfo, after: datetime) -> None:
    """By counting days: the moments of the days that follow are what comes next, each once."""
    assert recurrence.at is not None
    first = after.astimezone(zone).date()
    wanted = sorted({moment_of(first + timedelta(days=days), recurrence.at, zone) for days in range(-1, 6)})
    wanted = [moment for moment in wanted if moment > after]
    assert series(recurrence, zone, after, len(wanted)) == wanted


@given(st.dates(date(2000, 1, 1), date(2045, 1, 1)), times, zones)
@settings(max_examples=1000, deadline=None)
def test_a_day_s_moment_is_what_the_clock_shows_or_the_end_of_a_gap(day: date, at: time, zone: ZoneInfo) -> None:
    moment = moment_of(day, at, zone)
    wanted, shown = datetime.combine(day, at), moment.astimezone(zone).replace(tzinfo=None)
    before = (moment - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)
    if shown == wanted:
        assert moment.astimezone(zone).fold == 0  # the first time that it is shown
    else:
        assert before < wanted < shown


@given(st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("America/St_Johns")]), times, st.integers(2007, 2040))
@settings(max_examples=200, deadline=None)
def test_a_year_has_as_many_as_days(zone: ZoneInfo, at: time, year: int) -> None:
    """Whatever changes of the clocks it has."""
    after, end = datetime(year, 1, 1, tzinfo=zone) - timedelta(seconds=1), datetime(year + 1, 1, 1, tzinfo=zone)
    count = 0
    while (after := next_occurrence(Recurrence("day", at=at), zone, after=after)) < end:
        count += 1
    assert count == 365 + (monthrange(year, 2)[1] == 29)


@given(monthly, zones, moments)
@settings(max_examples=300, deadline=None)
def test_each_month_has_one(recurrence: Recurrence, zone: ZoneInfo, after: datetime) -> None:
    assert recurrence.day is not None
    # At noon no zone changes its clocks.
    noon = Recurrence("month", day=recurrence.day, at=time(12))
    found = [moment.astimezone(zone) for moment in series(noon, zone, after, 13)]
    months = [moment.year * 12 + moment.month for moment in found]
    assert months == list(range(months[0], months[0] + 13))
    assert all(moment.day == min(recurrence.day, monthrange(moment.year, moment.month)[1]) for moment in found)


@given(hourly, zones, moments)
@settings(max_examples=300, deadline=None)
def test_each_hour_the_clock_shows_the_minute(recurrence: Recurrence, zone: ZoneInfo, after: datetime) -> None:
    found = series(recurrence, zone, after, 3)
    assert all(moment.astimezone(zone).minute == recurrence.minute for moment in found)
    assert found[0] - after <= timedelta(hours=2)
