"""Signed links as pages: making one, and the download that it leads to, for which nobody signs in."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from activity.jobs import links, selectors
from activity.jobs.downloads import result_response
from activity.jobs.errors import JobNotFound, LinkInvalid
from activity.jobs.kinds import verb_of
from activity.jobs.views import JobsRequest, facts_of
from tenants.middleware import refuse

PROPOSED = frozenset({"900", "86400", "604800"})  # seconds that the page offers


def job_link(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Make a link and show it, once."""
    try:
        job = selectors.job_get(job_id)
        if verb_of(job.kind) not in cast(JobsRequest, request).verbs:
            raise PermissionDenied(f"This needs the permission {verb_of(job.kind)}.")
        asked = request.POST.get("expires_in", "")
        link = links.link_make(job=job, seconds=int(asked) if asked in PROPOSED else None)
    except JobNotFound as error:
        raise Http404(error.message) from None
    facts = {"link": link, "url": request.build_absolute_uri(link.path)}
    if getattr(request, "htmx", None):
        return render(request, "jobs/link.html", facts)
    return render(request, "jobs/job.html", {**facts_of(request, job), **facts})


@never_cache
@require_safe
def job_file(request: HttpRequest, job_id: UUID) -> HttpResponseBase:
    """The file that a signed link leads to."""
    try:
        job = links.link_open(
            job_id=job_id, expires=request.GET.get("expires", ""), signature=request.GET.get("signature", "")
        )
        return result_response(job)
    except LinkInvalid as refusal:
        return refuse(request, refusal.status, "This link leads nowhere", refusal.message)
    except JobNotFound:
        return refuse(request, 410, "This link leads nowhere", "The file that this link led to was removed.")
