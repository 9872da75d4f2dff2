"""Jobs as pages. Who may see them is said where they are routed: accounts, which knows, is above this app."""

from __future__ import annotations

from typing import Any, Protocol, cast
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from activity.jobs import selectors, services
from activity.jobs.errors import JobFinished, JobNotFailed, JobNotFound, ParametersInvalid, UniqueTaken, UploadGone
from activity.jobs.kinds import all_kinds, find_kind, verb_of
from activity.jobs.log_export import EXPORT, EXPORT_PARAMS
from activity.jobs.models import Job
from tenants.errors import PlanLimitReached
from tenants.pages import BadCursor


class JobsRequest(Protocol):
    """A request of somebody who is signed in; `verbs` are what they may do."""

    verbs: frozenset[str]
    user: Any


def job_list(request: HttpRequest) -> HttpResponse:
    """The jobs, newest first. While one of them isn't finished, the page asks for its rows again every two seconds."""
    kind, state, actor = (request.GET.get(name, "") for name in ("kind", "state", "actor"))
    try:
        page = selectors.job_page(kind=kind, state=state, actor=actor, cursor=request.GET.get("cursor"))
    except BadCursor:
        page = selectors.job_page(kind=kind, state=state, actor=actor)
    facts = {
        "jobs": page.items,
        "next": page.next,
        "is_filtered": bool(kind or state or actor),
        "is_moving": any(not job.is_finished for job in page.items) and "cursor" not in request.GET,
        "kinds": all_kinds(),
        "states": Job.State.values,
        "kind": kind,
        "state": state,
        "actor": actor,
        "me": f"member:{cast(JobsRequest, request).user.pk}",
        "actor_name": next((job.actor.get("name") for job in page.items), "") if actor else "",
    }
    template = "jobs/rows.html" if getattr(request, "htmx", None) else "jobs/jobs.html"
    return render(request, template, facts)


def job_detail(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """One job. While it isn't finished, the page asks for what moves every second."""
    job = _get(job_id)
    template = "jobs/progress.html" if getattr(request, "htmx", None) else "jobs/job.html"
    return render(request, template, facts_of(request, job))


def facts_of(request: HttpRequest, job: Job) -> dict[str, Any]:
    """What a job's page shows."""
    facts: dict[str, Any] = {"job": job, "kind": find_kind(job.kind), "may_act": _may(request, job)}
    if facts["kind"] is not None and facts["kind"].has_report and facts["may_act"]:
        facts |= {"problems": selectors.problems_first(job), "problems_count": selectors.problems_count(job)}
    if facts["may_act"]:
        facts["lines"] = selectors.log_latest(job)
    return facts


def job_cancel(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Cancel a job."""
    job = _get(job_id)
    if not _may(request, job):
        raise PermissionDenied(f"This needs the permission {verb_of(job.kind)}.")
    try:
        services.job_cancel(job=job)
    except (JobFinished, JobNotFound) as refusal:
        messages.info(request, refusal.message)
    return redirect("job_detail", job_id)


def job_retry(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Try a failed job again."""
    job = _get(job_id)
    if not _may(request, job):
        raise PermissionDenied(f"This needs the permission {verb_of(job.kind)}.")
    try:
        services.job_retry(job=job)
    except (JobNotFailed, JobNotFound, UniqueTaken, UploadGone) as refusal:
        messages.info(request, refusal.message)
    except PlanLimitReached as refusal:
        messages.error(request, refusal.message)
    return redirect("job_detail", job_id)


def activity_export(request: HttpRequest) -> HttpResponse:
    """Start an export of the activity log; the filters of its page go along."""
    params = {name: value for name, value in request.POST.items() if name in EXPORT_PARAMS and value}
    if verb_of(EXPORT) not in cast(JobsRequest, request).verbs:
        raise PermissionDenied(f"This needs the permission {verb_of(EXPORT)}.")
    try:
        job = services.job_start(kind=EXPORT, params=params)
    except (ParametersInvalid, PlanLimitReached) as refusal:
        messages.error(request, refusal.message)
        return redirect("activity")
    return redirect("job_detail", job.pk)


def _get(job_id: UUID) -> Job:
    try:
        return selectors.job_get(job_id)
    except JobNotFound as error:
        raise Http404(error.message) from None


def _may(request: HttpRequest, job: Job) -> bool:
    return verb_of(job.kind) in cast(JobsRequest, request).verbs
