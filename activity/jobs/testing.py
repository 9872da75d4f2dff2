"""For an app's own tests: run its kinds as a worker does, and have a worker die in the midst of one.

job = job_done("invoices.remind", older_than_days=30)
assert job.state == "succeeded"

job = job_start(kind="invoices.remind")
job_dies(job, after_steps=1)  # what was in that step stays, and the next attempt goes on behind it
assert job_run(job).state == "succeeded"
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.models.functions import Now

from activity.jobs import lease
from activity.jobs.kinds import kind_of
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.runner import run_job
from activity.jobs.services import Input, job_start


class WorkerDied(BaseException):
    """Raised in the kind in the place of its worker's death; no kind catches it."""


def job_done(kind: str, *, upload: Input | None = None, **params: Any) -> Job:
    """Start a job with these parameters and run it; the job as it is then."""
    return job_run(job_start(kind=kind, params=params, upload=upload))


def job_run(job: Job) -> Job:
    """Make one attempt at a job, as a worker does; the job as it is then."""
    run_job(job.pk)
    return Job.objects.get(pk=job.pk)


def job_dies(job: Job, *, after_steps: int) -> Job:
    """Make an attempt whose worker dies when so many steps have committed, and whose lease has passed; the job as it is then.

    Raises AssertionError when the kind ends before.
    """
    claimed = lease.claim(job.pk)
    assert claimed is not None, "The job can't be had: it has ended, or somebody else has it."
    kind = kind_of(claimed.kind)
    try:
        kind.run(_Dying(claimed, after_steps), kind.parse(claimed.params))
    except WorkerDied:
        Job.objects.filter(pk=job.pk).update(lease_until=Now())
        return Job.objects.get(pk=job.pk)
    raise AssertionError(f"The kind ended before it had made {after_steps} steps.")


class _Dying(Run):
    """Dies as soon as its last step has committed; with none, when the first one begins."""

    def __init__(self, job: Job, steps: int) -> None:
        super().__init__(job)
        self._steps = steps

    @contextmanager
    def step(self) -> Iterator[None]:
        if not self._steps:
            raise WorkerDied
        with super().step():
            yield
        self._steps -= 1
        if not self._steps:
            raise WorkerDied
