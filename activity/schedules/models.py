"""A tenant's schedules: jobs that are started for it again and again. In its own database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models.functions import Now

from activity.jobs.models import OF_SCHEDULE
from activity.schedules.occurrences import next_occurrence
from activity.schedules.recurrence import Every, Recurrence
from tenants.ids import new_id


class Schedule(models.Model):
    """A kind of job with its parameters, and when it is started. Times are Postgres's own."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=100)
    params = models.JSONField(default=dict)

    # How often (activity.schedules.recurrence): what doesn't go with `every` is null.
    every = models.CharField(max_length=10, choices=Every.choices)
    minute = models.PositiveSmallIntegerField(null=True)
    at = models.TimeField(null=True)
    weekday = models.PositiveSmallIntegerField(null=True)
    day = models.PositiveSmallIntegerField(null=True)
    # Empty: it follows the organisation's. `planned_in` is the zone by which `next_at` was reckoned.
    time_zone = models.CharField(max_length=64, blank=True)
    planned_in = models.CharField(max_length=64, blank=True)

    # Whose rights it runs with, for the events too: type, id and name.
    actor = models.JSONField()

    is_paused = models.BooleanField(default=False)
    # Why Tenantry paused it; empty when a person did, or nobody.
    paused_reason = models.CharField(max_length=500, blank=True)
    next_at = models.DateTimeField(null=True)

    # No foreign key: jobs are pruned, in control too, where there are no schedules.
    last_job_id = models.UUIDField(null=True)
    last_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    # Whoever changes one looks at it next, and what is due must be what is there.
    reads_from_primary: ClassVar[bool] = True

    class Meta:
        indexes = [models.Index(fields=["created_at", "id"], name="schedule_created")]
        constraints = [
            # One that isn't paused is always due sometime.
            models.CheckConstraint(
                condition=models.Q(is_paused=True, next_at__isnull=True)
                | models.Q(is_paused=False, next_at__isnull=False),
                name="schedule_due_unless_paused",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def recurrence(self) -> Recurrence:
        """How often it runs."""
        return Recurrence(self.every, self.minute, self.at, self.weekday, self.day)

    @recurrence.setter
    def recurrence(self, recurrence: Recurrence) -> None:
        self.every, self.minute, self.at = recurrence.every, recurrence.minute, recurrence.at
        self.weekday, self.day = recurrence.weekday, recurrence.day

    @property
    def unique_key(self) -> str:
        """The unique key of its jobs: one that isn't finished is not doubled."""
        return f"{OF_SCHEDULE}{self.pk}"

    @property
    def occurrence_key(self) -> str:
        """The idempotency key of the job that `next_at` starts."""
        assert self.next_at is not None
        return f"{self.unique_key}:{self.next_at.astimezone(UTC).isoformat()}"

    def plan(self, tenant_zone: str, *, after: datetime) -> None:
        """Set when it is started next: by its own time zone or the organisation's, after that moment. Raises ZoneInfoNotFoundError."""
        self.planned_in = self.time_zone or tenant_zone
        self.next_at = next_occurrence(self.recurrence, ZoneInfo(self.planned_in), after=after)
