"""The files that jobs made go before their jobs when they are too old for the tenant's plan, or too much."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import QuerySet
from django.db.models.functions import Now

from activity.jobs import files
from activity.jobs.models import Job
from tenants import context
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

MIB: Final = 1024 * 1024


def results_prune() -> int:
    """Remove the active tenant's results that its plan keeps no longer; returns how many. The newest one stays, however large.

    A plan that settings.JOB_FILES_DAYS doesn't name keeps them as long as their jobs; one that JOB_FILES_MB doesn't name has no quota.
    """
    ref = context.current()
    if not isinstance(ref, TenantRef):
        return 0
    days, quota = settings.JOB_FILES_DAYS.get(ref.plan), settings.JOB_FILES_MB.get(ref.plan)
    removed = 0
    if days is not None:
        old = _results().filter(finished_at__lt=Now() - timedelta(days=days))
        removed += sum(_remove(job, reason="age") for job in old.iterator())
    if quota is not None:
        removed += _remove_over(quota * MIB)
    return removed


def _remove_over(quota: int) -> int:
    kept, removed = 0, 0
    for place, job in enumerate(_results().order_by("-finished_at", "-id").iterator()):
        kept += _size(job)
        if kept > quota and place:  # from the first one that is too much on, all that are older go
            removed += _remove(job, reason="quota")
    return removed


def _results() -> QuerySet[Job]:
    return Job.objects.exclude(result_file="").only("pk", "kind", "result_file", "finished_at")


def _remove(job: Job, *, reason: str) -> int:
    """The row first: a page never offers what is gone. What a kill between leaves behind goes with its job."""
    changed = Job.objects.filter(pk=job.pk, result_file=job.result_file).update(result_file="", result_removed_at=Now())
    if changed:
        files.delete(job.result_file)
        log.info("job_file_removed", job=str(job.pk), kind=job.kind, reason=reason)
    return changed


def _size(job: Job) -> int:
    try:
        return default_storage.size(job.result_file)
    except FileNotFoundError:
        return 0
