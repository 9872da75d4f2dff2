"""What carries jobs to the workers: the call, the sweep that finds what no hint told of, and the daily upkeep."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import shared_task

from activity.jobs import cleanup, runner, services, summaries, turns
from activity.jobs.services import call_workers
from tenants import upkeep
from tenants.task import TenantTask

HINT_EXPIRES = 10  # seconds after which a hint of the sweep needn't arrive: the job is due again
TURNS_FOR = 10.0  # seconds after which a worker that runs short jobs gives others of its tasks a chance


@shared_task(base=TenantTask, name=services.TURNS, runs_in_control=True)
def take_turns(**_: Any) -> int | None:
    """Run the jobs whose turn it is, until nobody waits for one."""
    count = runner.run_turns(TURNS_FOR, call_others=call_workers)
    if count and turns.is_anybody_waiting():  # since the time is up, or in the moment in which this worker had no room
        call_workers()
    return count


@shared_task(base=TenantTask, name="jobs.run")
def run(*, job_id: str, **_: Any) -> str | None:
    """Go on with a job of the tenant whose worker may have died."""
    return runner.run_job(UUID(job_id))


@shared_task(base=TenantTask, name="jobs.sweep", runs_in_control=True)
def sweep(**_: Any) -> int:
    """Find what no hint told of: jobs that wait without a turn, and running ones, whose lease may have passed."""
    turns.repair()
    if turns.is_anybody_waiting():
        call_workers()
    return hint(summaries.due())


@shared_task(base=TenantTask, name="jobs.prune")
def prune(**_: Any) -> int:
    """Throw away old jobs of the tenant, or of control, and files of jobs that are too old or too much; find jobs that control has lost."""
    services.jobs_mend()
    return upkeep.in_batches(services.jobs_prune) + cleanup.results_prune()


def hint(jobs: list[tuple[UUID, str]]) -> int:
    """Send a hint for each job, by its id and its tenant's; returns how many."""
    for job_id, tenant_id in jobs:
        run.apply_async(
            kwargs={"job_id": str(job_id)}, headers={"tenant": tenant_id}, expires=HINT_EXPIRES, retry=False
        )
    return len(jobs)
