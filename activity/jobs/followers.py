"""Jobs that come after a job: they run when it has succeeded, and are cancelled when it can't succeed any more.

Whoever ends a job settles its followers after that. What a kill leaves unsettled is found by the sweep, since each of them stays due.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models.functions import Now

from activity.context import SYSTEM
from activity.jobs import files, lease, summaries
from activity.jobs.kinds import title_of
from activity.jobs.models import Job
from tenants import context

LOOK_AGAIN: Final = timedelta(seconds=30)


def settle_all(former: Job, *, most: int | None = None) -> None:
    """Let the followers of a job that has ended wait for their turns, or cancel them, and theirs.

    `most`: how many at once, for who can't wait; the sweep finds the others within LOOK_AGAIN.
    """
    _settle(_followers(former, most)[::-1], most)


def must_wait(job: Job) -> bool:
    """Whether a queued job comes after one that hasn't succeeded."""
    return job.after_id is not None and not Job.objects.filter(pk=job.after_id, state=Job.State.SUCCEEDED).exists()


def settle(job: Job) -> None:
    """Let a queued job wait for its turn, or for what it comes after; or cancel it, and those that come after it."""
    _settle([job], None)


def _settle(unsettled: list[Job], most: int | None) -> None:
    """The last one first, and its followers before the others. Not one within the other: a chain may be as long as somebody likes."""
    count = 0
    while unsettled and (most is None or count < most):
        job, count = unsettled.pop(), count + 1
        if _is_cancelled(job):
            unsettled += _followers(job, most)[::-1]


def _followers(former: Job, most: int | None = None) -> list[Job]:
    return list(former.followers.filter(state=Job.State.QUEUED).order_by("created_at", "id")[:most])


def _is_cancelled(job: Job) -> bool:
    """Settle one job; whether it was cancelled."""
    former = Job.objects.filter(pk=job.after_id).first() if job.after_id else None
    if former is None or former.state == Job.State.SUCCEEDED:
        summaries.enqueue(context.current(), job.pk)
    elif not former.is_finished:
        summaries.put_off(context.current(), job.pk, by=LOOK_AGAIN)
    else:
        return _cancel(job, former)
    return False


def _cancel(job: Job, former: Job) -> bool:
    with transaction.atomic():
        # Held meanwhile, so that it isn't tried again in the moment in which this one is given up.
        former = Job.objects.select_for_update(no_key=True).get(pk=former.pk)
        if former.state not in {Job.State.FAILED, Job.State.CANCELLED}:
            return False
        outcome = "failed" if former.state == Job.State.FAILED else "was cancelled"
        cancelled = Job.objects.filter(pk=job.pk, state=Job.State.QUEUED).update(
            state=Job.State.CANCELLED,
            finished_at=Now(),
            cancelled_by=asdict(SYSTEM),
            error=f"It was to run after the job {title_of(former.kind)} ({former.pk}), which {outcome}.",
        )
        if not cancelled:
            return False
        job = Job.objects.get(pk=job.pk)
        lease.record_end(job)
    summaries.tell(job)
    files.delete(job.input_file)
    return True
