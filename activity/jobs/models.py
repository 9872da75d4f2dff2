"""A job is a row in the tenant's database (or in control): the truth of it. A message of Celery only hints at it."""

from __future__ import annotations

from typing import Any, ClassVar, Final
from uuid import UUID

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from tenants.ids import new_id

# How the unique keys of the jobs begin that schedules start (activity.schedules), which nobody else's may.
OF_SCHEDULE: Final = "schedule:"


class Job(models.Model):
    """Work that is done by a worker: what, for whom, how far it is, and who may write to it now.

    `attempt` is the fence: whoever claims the job raises it, and every checkpoint and the finish are conditional on it. Times are
    Postgres's own, so that no machine's clock decides who has the job.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    UNFINISHED: ClassVar = (State.QUEUED, State.RUNNING)
    # Whoever has just started one looks at it next.
    reads_from_primary: ClassVar[bool] = True

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=100)
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    idempotency_key = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001  null: unique among those that have one

    # While a job of its kind with this key isn't finished, no other one is started.
    unique_key = models.CharField(max_length=200, null=True)  # noqa: DJ001  null: it has none
    # It runs only when that one has succeeded.
    after = models.ForeignKey("self", models.SET_NULL, null=True, related_name="followers")

    # How far it is. `checkpoint` is the kind's own note of where the next attempt goes on; `counts` what it has done by kind of thing.
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True)
    counts = models.JSONField(default=dict)
    checkpoint = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    rate = models.FloatField(null=True)  # rows a second, by the attempt's recent progress

    # Who has it. `stalls` counts the attempts since the last progress.
    attempt = models.PositiveIntegerField(default=0)
    stalls = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    # Set aside, after attempts that made no progress: `error` says why, and somebody may retry it by hand.
    quarantined_at = models.DateTimeField(null=True)
    cancelled_by = models.JSONField(null=True)

    # Who started it, for the events: type, id and name; in which request, from where.
    actor = models.JSONField()
    request_id = models.CharField(max_length=200, blank=True)
    ip = models.CharField(max_length=200, blank=True)

    # Names in the tenant's storage, and what the file was or will be called by people.
    input_file = models.CharField(max_length=200, blank=True)
    input_name = models.CharField(max_length=200, blank=True)
    result_file = models.CharField(max_length=200, blank=True)
    result_name = models.CharField(max_length=200, blank=True)
    # When the result was removed before its job: for its age, or to keep below the quota. Its name stays, to be told.
    result_removed_at = models.DateTimeField(null=True)

    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["created_at", "id"], name="job_created"),
            models.Index(fields=["finished_at"], name="job_finished"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "unique_key"],
                condition=models.Q(state__in=("queued", "running")),
                name="job_unique_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def schedule_id(self) -> str | None:
        """The id of the schedule that started it, at its time or when somebody asked for it."""
        key = self.unique_key or ""
        try:
            return str(UUID(key.removeprefix(OF_SCHEDULE))) if key.startswith(OF_SCHEDULE) else None
        except ValueError:  # a key of an app's own, or from before there were schedules
            return None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state not in Job.UNFINISHED

    @property
    def is_quarantined(self) -> bool:
        """Whether it was set aside because its attempts made no progress."""
        return self.quarantined_at is not None

    @property
    def is_cancelling(self) -> bool:
        """Whether somebody has cancelled it and its worker hasn't heard of it yet."""
        return self.cancelled_by is not None and not self.is_finished

    @property
    def waits_for(self) -> Job | None:
        """The job that it comes after, while that hasn't succeeded."""
        is_waiting = (
            self.state == Job.State.QUEUED and self.after is not None and self.after.state != Job.State.SUCCEEDED
        )
        return self.after if is_waiting else None

    @property
    def percent(self) -> int | None:
        """How much of it is done, in whole percents; None while the total isn't known."""
        if self.state == Job.State.SUCCEEDED:
            return 100
        if not self.total:
            return None
        return min(99, self.done * 100 // self.total)

    @property
    def rate_now(self) -> float | None:
        """Rows a second; None while that isn't known, or nobody is at work on it."""
        is_held = self.lease_until is not None and self.lease_until > timezone.now()
        return self.rate if self.state == Job.State.RUNNING and is_held else None

    @property
    def seconds_left(self) -> int | None:
        """How long it goes on at that rate; None while that can't be told."""
        rate = self.rate_now
        if not rate or self.total is None or self.done >= self.total:
            return None
        return max(1, round((self.total - self.done) / rate))


class JobLine(models.Model):
    """A line of a job's log: what its kind noted, and what became of it."""

    class Level(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        ERROR = "error"

    reads_from_primary: ClassVar[bool] = True

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, models.CASCADE, related_name="lines", db_index=False)
    at = models.DateTimeField(db_default=Now())
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.INFO)
    sentence = models.CharField(max_length=500)

    class Meta:
        indexes = [models.Index(fields=["job", "id"], name="job_line_job")]

    def __str__(self) -> str:
        return f"{self.level}: {self.sentence}"


class JobProblem(models.Model):
    """Something of a job's input that wasn't taken: the lines of its report."""

    reads_from_primary: ClassVar[bool] = True

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, models.CASCADE, related_name="problems")
    row = models.BigIntegerField()
    column = models.CharField(max_length=100)
    value = models.CharField(max_length=300)
    reason = models.CharField(max_length=300)

    class Meta:
        indexes = [models.Index(fields=["job", "row", "id"], name="job_problem_row")]

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.reason}"

    @classmethod
    def of(cls, job_id: Any, row: int, column: str, value: str, reason: str) -> JobProblem:
        """A problem, cut to what a report shows. NUL, which Postgres can't hold, is shown as a space."""
        return cls(
            job_id=job_id, row=row, column=column[:100], value=value.replace("\0", " ")[:300], reason=reason[:300]
        )
