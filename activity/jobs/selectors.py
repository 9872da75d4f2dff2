"""Reading jobs."""

from __future__ import annotations

from uuid import UUID

from activity.jobs.errors import JobNotFound
from activity.jobs.models import Job, JobLine, JobProblem
from tenants.pages import BadCursor, Page, decode_cursor, encode_cursor, keyset_page

PROBLEMS_SHOWN = 20
LINES_SHOWN = 50


def job_page(
    *, kind: str = "", state: str = "", actor: str = "", limit: int = 50, cursor: str | None = None
) -> Page[Job]:
    """A page of the jobs, newest first; `actor` is who started them, as type:id. Raises BadCursor."""
    found = Job.objects.select_related("after") if "\0" not in kind + state + actor else Job.objects.none()
    if kind:
        found = found.filter(kind=kind)
    if state:
        found = found.filter(state=state)
    if actor:
        actor_type, _, actor_id = actor.partition(":")
        found = found.filter(actor__type=actor_type, actor__id=actor_id)
    return keyset_page(found, limit=limit, cursor=cursor, newest=True)


def job_get(job_id: UUID) -> Job:
    """A job. Raises JobNotFound."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise JobNotFound()
    return job


def log_page(job: Job, *, limit: int = 50, cursor: str | None = None) -> Page[JobLine]:
    """A page of a job's log, oldest first. Raises BadCursor."""
    found = JobLine.objects.filter(job=job).order_by("id")
    if cursor:
        (after,) = decode_cursor(cursor, int)
        if not 0 <= after < 2**63:
            raise BadCursor()
        found = found.filter(id__gt=after)
    rows = list(found[: limit + 1])
    return Page(rows[:limit], encode_cursor(rows[limit - 1].pk) if len(rows) > limit else None)


def log_latest(job: Job) -> list[JobLine]:
    """The end of a job's log, oldest first, for a page."""
    return list(JobLine.objects.filter(job=job).order_by("-id")[:LINES_SHOWN])[::-1]


def problems_first(job: Job) -> list[JobProblem]:
    """The beginning of a job's report, for a page."""
    return list(JobProblem.objects.filter(job=job).order_by("row", "id")[:PROBLEMS_SHOWN])


def problems_count(job: Job) -> int:
    """How many lines a job's report has."""
    return JobProblem.objects.filter(job=job).count()
