"""What the usage API takes and gives."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from ninja import Field, Schema

from activity.usage.selectors import Day, Today


class MeterOut(Schema):
    name: str = Field(
        description="`members`, `events`, `storage_bytes`, `requests`, `job_seconds` and those of other apps."
    )
    title: str
    unit: Literal["number", "bytes", "seconds"]
    is_daily: bool = Field(description="It begins anew at midnight UTC; else it is how much there is now.")
    used: int | None = Field(description="Null as long as nobody has measured it.")
    limit: int | None = Field(description="What the plan allows; null for no limit.")
    percent: int | None
    state: Literal["ok", "near", "full"] = Field(description="`near` from 80 % of the limit on, `full` from 100 % on.")


class UsageOut(Schema):
    day: date = Field(description="Today, by UTC.")
    plan: str
    measured_at: datetime | None = Field(
        description="When members, events, storage and what other apps measure were last measured. "
        "Requests and seconds of jobs are counted, and some seconds old at most."
    )
    meters: list[MeterOut]

    @staticmethod
    def of(today: Today) -> dict[str, Any]:
        """Today's usage as the API shows it."""
        return {
            "day": today.day,
            "plan": today.plan,
            "measured_at": today.measured_at,
            "meters": [{name: getattr(reading, name) for name in MeterOut.model_fields} for reading in today.meters],
        }


class DaysFilter(Schema):
    start: date | None = Field(None, alias="from", description="The first day (UTC); left out, 29 days before `to`.")
    end: date | None = Field(None, alias="to", description="The last day; left out, today. At most 366 days.")
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)


class DayOut(Schema):
    day: date
    numbers: dict[str, int | None] = Field(description="By meter; null for what nobody measured on that day.")

    @staticmethod
    def of(day: Day) -> dict[str, Any]:
        """A day as the API shows it."""
        return {"day": day.day, "numbers": day.numbers}


class DayPageOut(Schema):
    items: list[DayOut]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")
