"""What is read of usage: a tenant's numbers of today with its limits, its days, and how far measuring is behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import DatabaseError
from django.db.models import QuerySet
from django.db.models.functions import Now

from activity import quotas
from activity.usage.errors import DaysInvalid
from activity.usage.meters import COUNTED, OWN, Unit, all_meters
from tenants import plan_limits, usage
from tenants.db.handler import release_unless_active
from tenants.errors import TenantryError
from tenants.models import Tenant, UsageDay
from tenants.pages import BadCursor, Page, decode_cursor, encode_cursor
from tenants.refs import CONTROL, TenantRef

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MOST_DAYS: Final = 366
USUAL_DAYS: Final = 30
LOOK_BACK: Final = 8  # days in which the last measured number is looked for
NEAR: Final = 80  # per cent of a limit from where on people are warned
LATE: Final = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Reading:
    """How much of a meter is used, of how much. `used` is None as long as nobody has measured it."""

    name: str
    title: str
    unit: Unit
    is_daily: bool
    used: int | None
    limit: int | None

    @property
    def percent(self) -> int | None:
        """How much of the limit is used; more than 100 where there is more than fits. None without a limit or a number."""
        if self.limit is None or self.used is None:
            return None
        return 100 * self.used // self.limit if self.limit else 100

    @property
    def state(self) -> str:
        """`ok`, `near` or `full`."""
        if self.percent is None or self.percent < NEAR:
            return "ok"
        return "near" if self.percent < 100 else "full"


@dataclass(frozen=True, slots=True)
class Today:
    """A tenant's usage as it is now. `measured_at` is when what isn't counted was last measured."""

    day: date
    plan: str
    measured_at: datetime | None
    meters: list[Reading]


@dataclass(frozen=True, slots=True)
class Day:
    """A day's numbers by meter; those that nobody measured are None."""

    day: date
    numbers: dict[str, int | None]


def usage_today(ref: TenantRef) -> Today:
    """What the active tenant uses, and what its plan allows. Requests and seconds of jobs are some seconds old at most."""
    today = usage.today()
    days = list(_days_of(ref, start=today - timedelta(days=LOOK_BACK), end=today)[: LOOK_BACK + 1])
    release_unless_active(CONTROL.alias)
    known = {row.day: row for row in days}
    here = usage.not_flushed(ref)
    readings = []
    for each in all_meters():
        if each.is_daily:
            used = number_of(known[today], each.name) if today in known else None
        else:
            used = next((number for row in days if (number := number_of(row, each.name)) is not None), None)
        if each.name in COUNTED:
            used = (used or 0) + int(getattr(here, each.name))
        readings.append(
            Reading(each.name, each.title, each.unit, each.is_daily, used, plan_limits.limit_of(each.name, ref))
        )
    sent_limit = quotas.daily_limit()
    if sent_limit is not None:
        readings.append(Reading("events_sent", "Events sent in", "number", True, quotas.used_today(), sent_limit))
    measured_at = next((row.measured_at for row in days if row.measured_at is not None), None)
    return Today(today, ref.plan, measured_at, readings)


def usage_days(
    ref: TenantRef, *, start: date | None = None, end: date | None = None, limit: int, cursor: str | None = None
) -> Page[Day]:
    """The days from `start` to `end`, both included, of which something is known, the newest first.

    Without an end it is today, without a start 30 days in all. Raises DaysInvalid for more than 366 days, and BadCursor.
    """
    end = usage.today() if end is None else end
    if start is None:
        start = max(date.min + timedelta(days=USUAL_DAYS), end) - timedelta(days=USUAL_DAYS - 1)
    if start > end:
        raise DaysInvalid("`from` must not be later than `to`.")
    if (end - start).days >= MOST_DAYS:
        raise DaysInvalid(f"At most {MOST_DAYS} days are told at once.")
    if cursor:
        end = min(end, _day_before(cursor))
    rows = list(_days_of(ref, start=start, end=end)[: limit + 1])
    release_unless_active(CONTROL.alias)
    found = [Day(row.day, numbers_of(row)) for row in rows[:limit]]
    return Page(found, encode_cursor(found[-1].day.isoformat()) if len(rows) > limit else None)


def numbers_of(row: UsageDay) -> dict[str, int | None]:
    """A day's numbers by meter: of those that there are, and of others that were measured then."""
    names = dict.fromkeys([each.name for each in all_meters()] + sorted(row.others))
    return {name: number_of(row, name) for name in names}


def number_of(row: UsageDay, name: str) -> int | None:
    """A day's number of one meter; seconds are whole ones, so that a limit isn't told as reached before it is."""
    number: Any = getattr(row, name) if name in OWN else row.others.get(name)
    return None if number is None else int(number)


def _days_of(ref: TenantRef, *, start: date, end: date) -> QuerySet[UsageDay]:
    return UsageDay.objects.filter(tenant_id=ref.id, day__gte=start, day__lte=end).order_by("-day")


def _day_before(cursor: str) -> date:
    try:
        (text,) = decode_cursor(cursor, str)
        return date.fromisoformat(text) - timedelta(days=1)
    except (ValueError, OverflowError):
        raise BadCursor() from None


def families() -> Iterator[Metric]:
    """For `/metrics`, in control: how many active tenants nobody has measured for some hours; nothing while control is away."""
    from prometheus_client.metrics_core import GaugeMetricFamily  # not before tenants.metrics has said where numbers go

    yesterday = usage.today() - timedelta(days=1)  # the index is by day
    fresh = UsageDay.objects.filter(day__gte=yesterday, measured_at__gte=Now() - LATE).values("tenant_id")
    late = Tenant.objects.filter(state=Tenant.State.ACTIVE, created_at__lt=Now() - LATE).exclude(pk__in=fresh)
    family = GaugeMetricFamily(
        "tenantry_usage_late_tenants", "Active tenants whose usage nobody has measured for three hours."
    )
    try:
        family.add_metric([], late.count())
    except (DatabaseError, TenantryError):  # the rest of the page tells of it
        return
    yield family
