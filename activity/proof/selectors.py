"""What is read of verifications."""

from __future__ import annotations

from typing import Any

from activity.jobs.models import Job
from activity.models import LogCheckpoint
from activity.proof.jobs import VERIFY


def verification_running() -> Job | None:
    """The verification that is under way."""
    return Job.objects.filter(kind=VERIFY, state__in=Job.UNFINISHED).order_by("created_at").last()


def verification_latest() -> Job | None:
    """The verification that was started last."""
    return Job.objects.filter(kind=VERIFY).order_by("created_at").last()


def outcome_of(job: Job | None) -> dict[str, Any] | None:
    """What a verification found, once it has ended."""
    found = job.checkpoint.get("outcome") if job is not None and job.state == Job.State.SUCCEEDED else None
    return found if isinstance(found, dict) else None


def checkpoint_latest() -> LogCheckpoint | None:
    """The checkpoint that reaches farthest."""
    return LogCheckpoint.objects.order_by("last").last()
