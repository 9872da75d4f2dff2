"""How often a schedule runs: at a minute of each hour, or at a time of each day, of a weekday, or of a day of each month."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from typing import Any, Final

from django.db.models import TextChoices

from activity.schedules.errors import ScheduleInvalid

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORTEST_MONTH: Final = 28  # days

_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class Every(TextChoices):
    """What it runs once in."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


# What says when in it.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    Every.HOUR: ("minute",),
    Every.DAY: ("at",),
    Every.WEEK: ("weekday", "at"),
    Every.MONTH: ("day", "at"),
}
_MISSING: Final = {
    "minute": "Say at which minute of the hour, from 0 to 59.",
    "at": "Say at what time of day, such as 07:00.",
    "weekday": "Say on which weekday, such as monday.",
    "day": "Say on which day of the month, from 1 to 31.",
}


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Local times that recur. What doesn't go with `every` is None.

    `weekday` counts from Monday, which is 0. A `day` that a month doesn't have is that month's last one.
    """

    every: str
    minute: int | None = None
    at: time | None = None
    weekday: int | None = None
    day: int | None = None

    def told(self) -> dict[str, Any]:
        """The same as it is asked for: `at` as HH:MM, the weekday by its name."""
        return {
            "every": str(self.every),
            "minute": self.minute,
            "at": None if self.at is None else f"{self.at:%H:%M}",
            "weekday": None if self.weekday is None else WEEKDAYS[self.weekday],
            "day": self.day,
        }

    def in_words(self) -> str:
        """As a person says it, such as `every Monday at 07:00`."""
        match self.every:
            case Every.HOUR:
                return f"every hour at {self.minute} minutes past" if self.minute else "every hour, on the hour"
            case Every.DAY:
                return f"every day at {self.at:%H:%M}"
            case Every.WEEK:
                assert self.weekday is not None
                return f"every {WEEKDAYS[self.weekday].capitalize()} at {self.at:%H:%M}"
            case _:
                assert self.day is not None
                last = " (or its last day)" if self.day > SHORTEST_MONTH else ""
                return f"on the {_ordinal(self.day)} of every month{last} at {self.at:%H:%M}"


def recurrence_of(
    *,
    every: str,
    minute: int | None = None,
    at: str | None = None,
    weekday: str | None = None,
    day: int | None = None,
) -> Recurrence:
    """What was asked for. Raises ScheduleInvalid for what is missing, doesn't belong together, or isn't such a time."""
    if every not in FIELDS:
        raise ScheduleInvalid({"every": [f"Use one of {', '.join(Every.values)}."]})
    errors: dict[str, list[str]] = {}
    for name, value in {"minute": minute, "at": at, "weekday": weekday, "day": day}.items():
        if name not in FIELDS[every]:
            if value is not None:
                errors[name] = [f"This doesn't go with every {every}; leave it out."]
        elif value is None or not _is_valid(name, value):
            errors[name] = [_MISSING[name]]
    if errors:
        raise ScheduleInvalid(errors)
    return Recurrence(
        every=every,
        minute=minute,
        at=None if at is None else time.fromisoformat(at),
        weekday=None if weekday is None else WEEKDAYS.index(weekday),
        day=day,
    )


def _is_valid(name: str, value: Any) -> bool:
    match name:
        case "minute":
            return bool(0 <= value <= 59)
        case "at":
            return _TIME.fullmatch(value) is not None
        case "weekday":
            return value in WEEKDAYS
        case _:
            return bool(1 <= value <= 31)


def _ordinal(number: int) -> str:
    ending = "th" if number in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
