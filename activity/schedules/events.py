"""What happens to schedules, for the activity log. The jobs that they start have events of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from activity.events import Event, Target
from activity.schedules.models import Schedule


@dataclass(frozen=True, kw_only=True)
class ScheduleEvent(Event):
    kind: str

    @classmethod
    def of(cls, schedule: Schedule, **facts: Any) -> Self:
        """The event about this schedule."""
        return cls(target=Target("schedule", str(schedule.pk), schedule.name), kind=schedule.kind, **facts)


@dataclass(frozen=True, kw_only=True)
class ScheduleCreated(ScheduleEvent):
    action: ClassVar[str] = "schedule.created"
    params: dict[str, Any]
    often: str


@dataclass(frozen=True, kw_only=True)
class ScheduleChanged(ScheduleEvent):
    action: ClassVar[str] = "schedule.changed"
    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ScheduleDeleted(ScheduleEvent):
    action: ClassVar[str] = "schedule.deleted"


@dataclass(frozen=True, kw_only=True)
class SchedulePaused(ScheduleEvent):
    """By a person, or by Tenantry, with the reason."""

    action: ClassVar[str] = "schedule.paused"
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleSkipped(ScheduleEvent):
    """Its time came and nothing was started, since the organisation's plan has no more of what jobs need."""

    action: ClassVar[str] = "schedule.skipped"
    reason: str


@dataclass(frozen=True, kw_only=True)
class ScheduleResumed(ScheduleEvent):
    """`taken_over`: it runs from now on with the rights of whoever resumed it."""

    action: ClassVar[str] = "schedule.resumed"
    taken_over: bool
