"""`/jobs`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Query, Router, Status

from activity.api import caller
from activity.jobs import links, selectors, services
from activity.jobs.downloads import report_response, result_response
from activity.jobs.errors import JobNotFound, KindUnknown, ParametersInvalid
from activity.jobs.kinds import kind_of, verb_of
from activity.jobs.models import OF_SCHEDULE, Job
from activity.jobs.schemas import JobFilter, JobIn, JobOut, JobPageOut, LineOut, LinkIn, LinkOut, LogFilter, LogPageOut

router = Router(tags=["Jobs"])


@router.get("/jobs", response=JobPageOut, summary="List jobs, newest first")
def job_list(request: HttpRequest, filters: Query[JobFilter]) -> dict[str, Any]:
    caller(request).require("jobs.read")
    page = selectors.job_page(
        kind=filters.kind,
        state=filters.state or "",
        actor=filters.actor,
        limit=filters.limit,
        cursor=filters.cursor,
    )
    return {"items": [JobOut.of(job) for job in page.items], "next": page.next}


@router.post("/jobs", response={202: JobOut}, summary="Start a job")
def job_start(request: HttpRequest, body: JobIn) -> Status[dict[str, Any]]:
    """It runs after the answer; ask for it by its id until its state is `succeeded`, `failed` or `cancelled`."""
    caller(request).require("jobs.write")
    kind = kind_of(body.kind)
    caller(request).require(kind.verb)
    if kind.own_address:
        raise KindUnknown(f"{kind.title} isn't started here: send what it takes to POST {kind.own_address}.")
    if (body.unique or "").startswith(OF_SCHEDULE):
        raise ParametersInvalid({"unique": [f"Keys that begin with {OF_SCHEDULE} are those of schedules."]})
    after = None if body.after is None else _former(request, body.after)
    job = services.job_start(
        kind=body.kind, params=body.params, unique=body.unique, after=after, priority=body.priority
    )
    return Status(202, JobOut.of(job))


def _former(request: HttpRequest, job_id: UUID) -> Job:
    caller(request).require("jobs.read")
    try:
        return selectors.job_get(job_id)
    except JobNotFound as refusal:
        raise ParametersInvalid({"after": [refusal.message]}) from None


@router.get("/jobs/{uuid:job_id}", response=JobOut, summary="A job, and how far it is")
def job_get(request: HttpRequest, job_id: UUID) -> dict[str, Any]:
    caller(request).require("jobs.read")
    return JobOut.of(selectors.job_get(job_id))


@router.post("/jobs/{uuid:job_id}/cancel", response=JobOut, summary="Cancel a job")
def job_cancel(request: HttpRequest, job_id: UUID) -> dict[str, Any]:
    """One that runs ends within two seconds. What it has done by then stays."""
    job = selectors.job_get(job_id)
    caller(request).require("jobs.write")
    caller(request).require(verb_of(job.kind))
    return JobOut.of(services.job_cancel(job=job))


@router.post("/jobs/{uuid:job_id}/retry", response={202: JobOut}, summary="Try a failed job again")
def job_retry(request: HttpRequest, job_id: UUID) -> Status[dict[str, Any]]:
    """It goes on from where it was. 409 for a job that hasn't failed."""
    job = selectors.job_get(job_id)
    caller(request).require("jobs.write")
    caller(request).require(verb_of(job.kind))
    return Status(202, JobOut.of(services.job_retry(job=job)))


@router.get("/jobs/{uuid:job_id}/log", response=LogPageOut, summary="A job's log, oldest line first")
def job_log(request: HttpRequest, job_id: UUID, filters: Query[LogFilter]) -> dict[str, Any]:
    """What it noted, and what became of it: at most 1,000 lines, the newest ones."""
    job = selectors.job_get(job_id)
    caller(request).require("jobs.read")
    caller(request).require(verb_of(job.kind))
    page = selectors.log_page(job, limit=filters.limit, cursor=filters.cursor)
    return {"items": [LineOut.of(line) for line in page.items], "next": page.next}


@router.get("/jobs/{uuid:job_id}/result", response={200: None}, summary="The file that a job made")
def job_result(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    job = selectors.job_get(job_id)
    caller(request).require("jobs.read")
    caller(request).require(verb_of(job.kind))
    return result_response(job)


@router.post(
    "/jobs/{uuid:job_id}/link", response=LinkOut, summary="A signed link to the file, for use without signing in"
)
def job_link(request: HttpRequest, job_id: UUID, body: LinkIn | None = None) -> dict[str, Any]:
    """Whoever has it downloads the file until it expires: it is a secret. It ends early when the file is removed."""
    job = selectors.job_get(job_id)
    caller(request).require("jobs.write")
    caller(request).require(verb_of(job.kind))
    link = links.link_make(job=job, seconds=None if body is None else body.expires_in)
    return {"url": request.build_absolute_uri(link.path), "expires_at": link.expires_at}


@router.get("/jobs/{uuid:job_id}/report", response={200: None}, summary="The rows that a job didn't take (CSV)")
def job_report(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """Columns: row (as a spreadsheet numbers them, the header being 1), column, value, reason."""
    job = selectors.job_get(job_id)
    caller(request).require("jobs.read")
    caller(request).require(verb_of(job.kind))
    return report_response(request, job)
