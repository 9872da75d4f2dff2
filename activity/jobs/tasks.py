"""What carries jobs to the workers: the hint, the sweep that finds what no hint told of, and the daily upkeep."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import shared_task

from activity.jobs import cleanup, runner, services, summaries
from activity.jobs.models import Job
from tenants.task import TenantTask

HINT_EXPIRES = 10  # seconds after which a hint of the sweep needn't arrive: the job is due again


@shared_task(base=TenantTask, name="jobs.run")
def run(*, job_id: str, **_: Any) -> str | None:
    """Run a job of the tenant, if it is still to be run; then let the one that has waited longest know that there is room."""
    state = runner.run_job(UUID(job_id))
    if state is not None and state != Job.State.QUEUED:
        hint(summaries.waiting(1))
    return state


@shared_task(base=TenantTask, name="jobs.sweep", runs_in_control=True)
def sweep(**_: Any) -> int:
    """Hint at every job that is due: queued ones whose hint was lost, and running ones, whose lease may have passed."""
    return hint(summaries.due())


@shared_task(base=TenantTask, name="jobs.prune")
def prune(**_: Any) -> int:
    """Throw away old jobs of the tenant, or of control, and files of jobs that are too old or too much."""
    return services.jobs_prune() + cleanup.results_prune()


def hint(jobs: list[tuple[UUID, str]]) -> int:
    """Send a hint for each job, by its id and its tenant's; returns how many."""
    for job_id, tenant_id in jobs:
        run.apply_async(
            kwargs={"job_id": str(job_id)}, headers={"tenant": tenant_id}, expires=HINT_EXPIRES, retry=False
        )
    return len(jobs)
