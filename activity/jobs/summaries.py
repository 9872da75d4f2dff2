"""The row of each job in control: for operators, and for the sweeper, which finds by it what no hint told of.

Written before the job is, and told of what becomes of it after that has committed. Both may fail to happen: the sweeper asks the job.
Whose turn it is to run one is said by turns.py, by what stands here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from activity.jobs import turns
from activity.jobs.models import Job
from tenants import context, workers
from tenants.db.handler import release_unless_active
from tenants.models import JobSummary, Tenant
from tenants.refs import CONTROL, Ref, TenantRef

log = structlog.get_logger(__name__)

SWEEP_AGAIN: Final = timedelta(seconds=10)
SWEEP_AT_ONCE: Final = 200
NEVER_AFTER: Final = timedelta(hours=1)  # longer than any request's transaction lasts


def announce(ref: Ref, job_id: UUID, kind: str, *, priority: int = 0) -> None:
    """Note a job that is about to be made. Raises django.db.DatabaseError: a job that nobody could find again isn't started."""
    with _control():
        JobSummary.objects.create(
            id=job_id, tenant_id=_tenant_of(ref), kind=kind, priority=priority, due_at=Now() + SWEEP_AGAIN
        )


def enqueue(ref: Ref, job_id: UUID) -> None:
    """Let a job that has been made wait for its turn. What goes wrong is logged: the sweeper does it again."""
    with _control(), _late(job_id):
        JobSummary.objects.filter(pk=job_id, state=Job.State.QUEUED).update(due_at=Now())
        turns.wait(_tenant_of(ref))


def announce_again(ref: Ref, job_id: UUID) -> None:
    """Note that a job which has ended is about to be queued again, so that it is found whatever happens. Raises DatabaseError.

    When it isn't queued after all, whoever finds it tells its summary so.
    """
    with _control():
        JobSummary.objects.filter(pk=job_id).update(
            state=Job.State.QUEUED, finished_at=None, error="", due_at=Now() + SWEEP_AGAIN
        )


def tell(job: Job, *, of_running: bool = False) -> None:
    """Bring the summary of a job of the active tenant up to date with what has been committed, and its tenant's turn with it.

    `of_running`: only a summary that says that this worker runs it, for who has ended it: it may be queued again by now, or be another's.
    What goes wrong is logged: the sweeper does it again.
    """
    tenant_id = _tenant_of(context.current())
    facts = {"state": job.state, "done": job.done, "error": job.error, "finished_at": job.finished_at}
    if job.state == Job.State.QUEUED:
        facts["due_at"] = Now()
    if job.state == Job.State.RUNNING:
        facts["worker"] = workers.name()
    with _control(), _late(job.pk):
        found = JobSummary.objects.filter(pk=job.pk)
        (found.filter(state=Job.State.RUNNING, worker=workers.name()) if of_running else found).update(**facts)
        if job.state == Job.State.QUEUED:
            turns.wait(tenant_id)
        if job.state != Job.State.RUNNING:
            turns.make_room(tenant_id)


def remove(job_id: UUID) -> None:
    """Forget a job that was thrown away."""
    with _control():
        JobSummary.objects.filter(pk=job_id).delete()


def remove_if_old(job_id: UUID) -> bool:
    """Forget a job that was announced NEVER_AFTER ago and isn't there; whether it was that old. A younger one may be about to commit."""
    with _control():
        old = JobSummary.objects.filter(pk=job_id, created_at__lt=Now() - NEVER_AFTER)
        return bool(old.delete()[0])


def put_off(ref: Ref, job_id: UUID, *, by: timedelta = SWEEP_AGAIN) -> None:
    """Let a job that can't begin yet wait for so long, without taking a place among those that run: one that isn't there, say."""
    with _control(), _late(job_id):
        JobSummary.objects.filter(pk=job_id).update(
            state=Job.State.QUEUED, finished_at=None, error="", due_at=Now() + by
        )
        turns.make_room(_tenant_of(ref))


def due() -> list[tuple[UUID, str]]:
    """Running jobs to look after, whose lease may have passed, with the id of their tenant (or control's); due again in SWEEP_AGAIN.

    To be called in control. Jobs of tenants that aren't served wait until they are.
    """
    served = Q(tenant=None) | Q(tenant__state=Tenant.State.ACTIVE)
    running = JobSummary.objects.filter(served, state=Job.State.RUNNING, finished_at=None)
    found = running.filter(due_at__lte=Now()).order_by("due_at")
    rows = list(found.values_list("id", "tenant_id")[:SWEEP_AT_ONCE])
    JobSummary.objects.filter(pk__in=[job_id for job_id, _ in rows]).update(due_at=Now() + SWEEP_AGAIN)
    return [(job_id, turns.owner_of(tenant_id)) for job_id, tenant_id in rows]


def put_back(ref: Ref, job_id: UUID) -> None:
    """Let a job that was left by its worker wait for its turn, as those that were queued do. What goes wrong is logged."""
    with _control(), _late(job_id):
        JobSummary.objects.filter(pk=job_id, state=Job.State.RUNNING).update(state=Job.State.QUEUED, due_at=Now())
        turns.wait(_tenant_of(ref))
        turns.make_room(_tenant_of(ref))


def mend(jobs: Sequence[Job]) -> int:
    """Have jobs of the active tenant that aren't finished found again, where control has lost them or takes them for finished; how many.

    Control may have failed over to a replica that was behind, or whoever told it last may have been late.
    """
    tenant_id = _tenant_of(context.current())
    with _control(), transaction.atomic(using=CONTROL.alias):
        known = JobSummary.objects.filter(pk__in=[job.pk for job in jobs], finished_at=None)
        lost = {job.pk: job for job in jobs}
        for job_id in known.values_list("pk", flat=True):
            del lost[job_id]
        for job in lost.values():
            facts = {"state": Job.State.QUEUED, "finished_at": None, "error": "", "due_at": Now()}
            JobSummary.objects.update_or_create(
                pk=job.pk, defaults=facts, create_defaults={**facts, "tenant_id": tenant_id, "kind": job.kind}
            )
            log.warning("job_found_again", job=str(job.pk), kind=job.kind)
        if lost:
            turns.wait(tenant_id)
    return len(lost)


def _tenant_of(ref: Ref) -> str | None:
    return ref.id if isinstance(ref, TenantRef) else None


@contextmanager
def _late(job_id: UUID) -> Iterator[None]:
    """All of the block in one transaction, or none of it."""
    try:
        with transaction.atomic(using=CONTROL.alias):
            yield
    except DatabaseError as error:
        log.warning("job_summary_late", job=str(job_id), error=type(error).__name__)


@contextmanager
def _control() -> Iterator[None]:
    """Control's connection is given back at the end, so that no thread holds two for long."""
    try:
        yield
    finally:
        release_unless_active(CONTROL.alias)
