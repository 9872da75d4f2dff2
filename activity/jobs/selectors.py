"""Reading jobs."""

from __future__ import annotations

from uuid import UUID

from activity.jobs.errors import JobNotFound
from activity.jobs.models import Job, JobProblem
from tenants.pages import Page, keyset_page

PROBLEMS_SHOWN = 20


def job_page(*, kind: str = "", state: str = "", limit: int = 50, cursor: str | None = None) -> Page[Job]:
    """A page of the jobs, newest first. Raises BadCursor."""
    found = Job.objects.all() if "\0" not in kind + state else Job.objects.none()
    if kind:
        found = found.filter(kind=kind)
    if state:
        found = found.filter(state=state)
    return keyset_page(found, limit=limit, cursor=cursor, newest=True)


def job_get(job_id: UUID) -> Job:
    """A job. Raises JobNotFound."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise JobNotFound()
    return job


def problems_first(job: Job) -> list[JobProblem]:
    """The beginning of a job's report, for a page."""
    return list(JobProblem.objects.filter(job=job).order_by("row", "id")[:PROBLEMS_SHOWN])


def problems_count(job: Job) -> int:
    """How many lines a job's report has."""
    return JobProblem.objects.filter(job=job).count()
