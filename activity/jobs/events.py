"""What happens to jobs, for the activity log: one event when a job starts and one when it ends, with its counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from activity.events import Event, Target
from activity.jobs.models import Job


@dataclass(frozen=True, kw_only=True)
class JobEvent(Event):
    kind: str
    file: str | None = None

    @classmethod
    def of(cls, job: Job, **facts: Any) -> Self:
        """The event about this job."""
        return cls(target=Target("job", str(job.pk), job.kind), kind=job.kind, **facts)


@dataclass(frozen=True, kw_only=True)
class JobStarted(JobEvent):
    """`schedule` is the id of the schedule that started it; others' events don't have it."""

    action: ClassVar[str] = "job.started"
    params: dict[str, Any]
    schedule: str | None = None

    def data(self) -> dict[str, Any]:
        facts = super().data()
        if self.schedule is None:
            del facts["schedule"]
        return facts


@dataclass(frozen=True, kw_only=True)
class JobRetried(JobEvent):
    """Somebody has a failed job tried again, from where it was."""

    action: ClassVar[str] = "job.retried"
    done: int


@dataclass(frozen=True, kw_only=True)
class FileLinked(JobEvent):
    """Somebody made a link by which whoever has it downloads the job's file without signing in."""

    action: ClassVar[str] = "job.file_linked"
    expires_at: str


@dataclass(frozen=True, kw_only=True)
class JobEnded(JobEvent):
    done: int
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class JobSucceeded(JobEnded):
    action: ClassVar[str] = "job.succeeded"


@dataclass(frozen=True, kw_only=True)
class JobFailed(JobEnded):
    action: ClassVar[str] = "job.failed"
    error: str
    quarantined: bool = False


@dataclass(frozen=True, kw_only=True)
class JobCancelled(JobEnded):
    action: ClassVar[str] = "job.cancelled"
    reason: str | None = None


ENDED: dict[str, type[JobEnded]] = {
    Job.State.SUCCEEDED: JobSucceeded,
    Job.State.FAILED: JobFailed,
    Job.State.CANCELLED: JobCancelled,
}
