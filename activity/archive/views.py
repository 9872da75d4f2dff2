"""The start of an archive, from the page of settings. Who may is said where it is routed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from activity.archive.own_parts import KIND
from activity.jobs.services import job_start


def archive_start(request: HttpRequest) -> HttpResponse:
    """Start the archive, and go on to where it is watched."""
    return redirect("job_detail", job_start(kind=KIND).pk)
