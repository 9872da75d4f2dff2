"""The row of each job in control: for operators, and for the sweeper, which finds by it what no hint told of.

Written before the job is, and told of what becomes of it after that has committed. Both may fail to happen: the sweeper asks the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import DatabaseError
from django.db.models import Q
from django.db.models.functions import Now

from activity.jobs.models import Job
from tenants.db.handler import release_unless_active
from tenants.models import JobSummary, Tenant
from tenants.refs import CONTROL, Ref, TenantRef

log = structlog.get_logger(__name__)

SWEEP_AGAIN: Final = timedelta(seconds=10)
SWEEP_AT_ONCE: Final = 200
NEVER_AFTER: Final = timedelta(hours=1)  # longer than any request's transaction lasts


def announce(ref: Ref, job_id: UUID, kind: str) -> None:
    """Note a job that is about to be made. Raises django.db.DatabaseError: a job that nobody could find again isn't started."""
    with _control():
        tenant_id = ref.id if isinstance(ref, TenantRef) else None
        JobSummary.objects.create(id=job_id, tenant_id=tenant_id, kind=kind, due_at=Now() + SWEEP_AGAIN)


def tell(job: Job) -> None:
    """Bring the summary up to date with what has been committed. What goes wrong is logged: the sweeper does it again."""
    facts = {"state": job.state, "done": job.done, "error": job.error, "finished_at": job.finished_at}
    if job.state == Job.State.QUEUED:
        facts["due_at"] = Now()
    with _control():
        try:
            JobSummary.objects.filter(pk=job.pk).update(**facts)
        except DatabaseError as error:
            log.warning("job_summary_late", job=str(job.pk), error=type(error).__name__)


def remove(job_id: UUID) -> None:
    """Forget a job that was thrown away."""
    with _control():
        JobSummary.objects.filter(pk=job_id).delete()


def remove_if_old(job_id: UUID) -> bool:
    """Forget a job that was announced NEVER_AFTER ago and isn't there; whether it was that old. A younger one may be about to commit."""
    with _control():
        old = JobSummary.objects.filter(pk=job_id, created_at__lt=Now() - NEVER_AFTER)
        return bool(old.delete()[0])


def due() -> list[tuple[UUID, str]]:
    """Jobs to look after, with the id of their tenant (or control's), which are due again in SWEEP_AGAIN. To be called in control.

    Jobs of tenants that aren't served wait until they are.
    """
    served = Q(tenant=None) | Q(tenant__state=Tenant.State.ACTIVE)
    found = JobSummary.objects.filter(served, finished_at=None, due_at__lte=Now()).order_by("due_at")
    rows = list(found.values_list("id", "tenant_id")[:SWEEP_AT_ONCE])
    JobSummary.objects.filter(pk__in=[job_id for job_id, _ in rows]).update(due_at=Now() + SWEEP_AGAIN)
    return [(job_id, _owner(tenant_id)) for job_id, tenant_id in rows]


def waiting(limit: int) -> list[tuple[UUID, str]]:
    """The jobs that have waited longest, with the id of their tenant; for a worker that has become free."""
    with _control():
        served = Q(tenant=None) | Q(tenant__state=Tenant.State.ACTIVE)
        found = JobSummary.objects.filter(served, finished_at=None, state=Job.State.QUEUED).order_by("created_at", "id")
        rows = list(found.values_list("id", "tenant_id")[:limit])
    return [(job_id, _owner(tenant_id)) for job_id, tenant_id in rows]


def _owner(tenant_id: UUID | None) -> str:
    """The id that a hint names: the tenant's, or control's for a job of its own."""
    return CONTROL.id if tenant_id is None else str(tenant_id)


@contextmanager
def _control() -> Iterator[None]:
    """Control's connection is given back at the end, so that no thread holds two for long."""
    try:
        yield
    finally:
        release_unless_active(CONTROL.alias)
