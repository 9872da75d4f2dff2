"""The meters: one table of name to what is shown and how it is measured. An app registers its own in its module `meters`.

@meter("invoices", title="Invoices")
def invoices(cursor: Any, day: date) -> int:
    cursor.execute("SELECT count(*) FROM invoices_invoice")
    return int(cursor.fetchone()[0])

Such a meter is measured about once an hour in every tenant, and limited by what `settings.PLAN_LIMITS` has under its name: whoever adds an
invoice asks `tenants.plan_limits.limit_of("invoices")`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

Unit = Literal["number", "bytes", "seconds"]
Measure = Callable[[Any, date], int]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
# What has a column of its own in tenants.models.UsageDay.
COUNTED: Final = ("requests", "job_seconds")
OWN: Final = ("members", "events", "storage_bytes", *COUNTED)


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter. `title` is what people read. `is_daily`: it begins anew each day; else it is how much there is now.

    `measure` is None for what is counted where it happens (tenants.usage).
    """

    name: str
    title: str
    unit: Unit
    is_daily: bool
    measure: Measure | None


_meters: dict[str, Meter] = {}


def meter(name: str, *, title: str, unit: Unit = "number", is_daily: bool = False) -> Callable[[Measure], Measure]:
    """Register the decorated function as what measures `name` for the active tenant.

    It gets a cursor on the tenant's database, or a replica of it, on which a statement may take measuring.STATEMENT_SECONDS, and a day of
    UTC: today, or of what is daily also the day before, for what became known of it later. Raises ValueError for a name that isn't a word
    in small letters, or is another meter's.
    """

    def register(measure: Measure) -> Measure:
        add(Meter(name, title, unit, is_daily, measure))
        return measure

    return register


def add(new: Meter) -> None:
    """Register a meter. Raises ValueError."""
    if not _NAME.fullmatch(new.name):
        raise ValueError(f"{new.name!r} is no name for a meter: use small letters, digits and _.")
    known = _meters.get(new.name)
    if known is not None and known.measure is not new.measure:
        raise ValueError(f"There is a meter {new.name} already.")
    _meters[new.name] = new


def all_meters() -> list[Meter]:
    """Every meter: Tenantry's own first, in their order, then the others by name."""
    rank = {name: place for place, name in enumerate(OWN)}
    return sorted(_meters.values(), key=lambda each: (rank.get(each.name, len(rank)), each.name))
