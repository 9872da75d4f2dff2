"""Members in and out as files: the page of the import, and the start of an export."""

from __future__ import annotations

from typing import get_args

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts import exports, imports
from accounts.access import MemberRequest, read_access, write_access
from activity.jobs.errors import ParametersInvalid, UploadRefused
from activity.jobs.services import job_start


@read_access("members.write")
def members_import(request: MemberRequest) -> HttpResponse:
    """Choose a file, and what it must look like."""
    return _page(request)


@write_access("members.write")
def members_import_start(request: MemberRequest) -> HttpResponse:
    """Start the import, and go on to where it is watched."""
    try:
        job = imports.members_import_start(request)
    except UploadRefused as refusal:
        return _page(request, refusal=refusal.message, status=refusal.status)
    return redirect("job_detail", job.pk)


@write_access("jobs.write")
def members_export(request: MemberRequest) -> HttpResponse:
    """Start an export; the filter of the list goes along."""
    params = {"format": request.POST.get("format", "csv"), "q": request.POST.get("q", "").strip()[:200]}
    if params["format"] not in get_args(exports.FileFormat):
        messages.error(request, "Choose CSV, NDJSON or XLSX.")
        return redirect("member_list")
    try:
        job = job_start(kind=exports.KIND, params=params)
    except ParametersInvalid as refusal:
        messages.error(request, refusal.message)
        return redirect("member_list")
    return redirect("job_detail", job.pk)


def _page(request: MemberRequest, *, refusal: str = "", status: int = 200) -> HttpResponse:
    facts = {
        "refusal": refusal,
        "max_bytes": settings.UPLOAD_MAX_BYTES,
        "max_megabytes": settings.UPLOAD_MAX_BYTES // (1024 * 1024),
    }
    return render(request, "accounts/members_import.html", facts, status=status)
