"""A meter's last days as a bar chart: where each bar stands, for an SVG that needs no script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from activity.usage.selectors import USUAL_DAYS, Day, Reading

STEP: Final = 10  # from one bar to the next, in the SVG's units
BAR: Final = 7
WIDTH: Final = STEP * USUAL_DAYS
HEIGHT: Final = 48
LEAST: Final = 1.0  # of what is more than nothing


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: its number, None where nobody measured it, and its bar from the top left corner on."""

    day: date
    number: int | None
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars of a meter over USUAL_DAYS, the oldest first, and the highest number of them."""

    bars: list[Bar]
    most: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.most == 0


@dataclass(frozen=True, slots=True)
class Card:
    """What the page shows of one meter."""

    reading: Reading
    chart: Chart | None


def chart_of(name: str, today: date, days: Mapping[date, Day]) -> Chart:
    """The chart of the meter `name` up to today."""
    wanted = [today - timedelta(days=back) for back in range(USUAL_DAYS - 1, -1, -1)]
    numbers = [days[day].numbers.get(name) if day in days else None for day in wanted]
    most = max((number or 0 for number in numbers), default=0)
    bars = []
    for place, (day, number) in enumerate(zip(wanted, numbers, strict=True)):
        height = max(LEAST, round(HEIGHT * number / most, 2)) if number and most else 0.0
        bars.append(Bar(day, number, place * STEP, HEIGHT - height, height))
    return Chart(bars, most)
