"""What the schedules API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import ConfigDict

from activity.jobs.models import Job
from activity.jobs.schemas import StateName
from activity.schedules.models import Schedule

EveryName = Literal["hour", "day", "week", "month"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

_MINUTE = "The minute of each hour."
_AT = "The time of day as HH:MM, for every day, week and month."
_WEEKDAY = "For every week."
_DAY = "For every month; in a shorter one its last day."
_ZONE = "An IANA name, such as Europe/Berlin. Null: it follows the organisation's."


class ScheduleIn(Schema):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    kind: str = Field(max_length=100, description="A kind of job that works on no upload.")
    params: dict[str, Any] = Field(default_factory=dict, description="The kind's own parameters.")
    every: EveryName
    minute: int | None = Field(None, ge=0, le=59, description=_MINUTE)
    at: str | None = Field(None, max_length=10, description=_AT)
    weekday: Weekday | None = Field(None, description=_WEEKDAY)
    day: int | None = Field(None, ge=1, le=31, description=_DAY)
    time_zone: str | None = Field(None, max_length=64, description=_ZONE)


class SchedulePatch(Schema):
    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=100)
    params: dict[str, Any] = Field(default_factory=dict, description="All of them: what is left out has its default.")
    every: EveryName = "day"
    minute: int | None = Field(None, ge=0, le=59, description=_MINUTE)
    at: str | None = Field(None, max_length=10, description=_AT)
    weekday: Weekday | None = Field(None, description=_WEEKDAY)
    day: int | None = Field(None, ge=1, le=31, description=_DAY)
    time_zone: str | None = Field(None, max_length=64, description=_ZONE)
    is_paused: bool = Field(
        False,
        description="One that goes on, and whose maker may no longer do this, becomes that of whoever lets it go on.",
    )


class MakerOut(Schema):
    type: str
    id: str
    name: str


class LastJobOut(Schema):
    id: UUID
    state: StateName


class ScheduleOut(Schema):
    id: UUID
    name: str
    kind: str
    params: dict[str, Any]
    every: EveryName
    minute: int | None
    at: str | None
    weekday: Weekday | None
    day: int | None
    time_zone: str | None = Field(description="Null: it follows the organisation's.")
    planned_in: str = Field(description="The time zone by which `next_at` was reckoned.")
    actor: MakerOut = Field(description="Who made it; it runs with their rights.")
    is_paused: bool
    paused_reason: str | None = Field(description="Why Tenantry paused it; null when it didn't.")
    next_at: datetime | None = Field(description="When it is started next; null while it is paused.")
    last_at: datetime | None = Field(description="When it was started last.")
    last_job: LastJobOut | None = Field(description="What was started then, while that is kept.")
    created_at: datetime

    @staticmethod
    def of(schedule: Schedule, jobs: dict[UUID, Job]) -> dict[str, Any]:
        """A schedule as the API shows it; `jobs` has its last one."""
        job = None if schedule.last_job_id is None else jobs.get(schedule.last_job_id)
        return {
            "id": schedule.pk,
            "name": schedule.name,
            "kind": schedule.kind,
            "params": schedule.params,
            **schedule.recurrence.told(),
            "time_zone": schedule.time_zone or None,
            "planned_in": schedule.planned_in,
            "actor": schedule.actor,
            "is_paused": schedule.is_paused,
            "paused_reason": schedule.paused_reason or None,
            "next_at": schedule.next_at,
            "last_at": schedule.last_at,
            "last_job": None if job is None else {"id": job.pk, "state": job.state},
            "created_at": schedule.created_at,
        }


class SchedulePageOut(Schema):
    items: list[ScheduleOut]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")


class ListFilter(Schema):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)
