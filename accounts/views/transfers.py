"""Members in and out as files: the pages of the import, and the start of an export."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render

from accounts import exports
from accounts.access import MemberRequest, read_access, write_access
from accounts.errors import InvalidField, NotFound
from accounts.forms import ImportForm
from accounts.imports import waiting
from activity.jobs import uploads
from activity.jobs.errors import ParametersInvalid, UploadRefused
from activity.jobs.services import job_start
from tenants.errors import PlanLimitReached


@read_access("members.write")
def members_import(request: MemberRequest) -> HttpResponse:
    """Choose a file, and what it must look like."""
    return _choose(request)


@write_access("members.write")
def members_import_upload(request: MemberRequest) -> HttpResponse:
    """Keep a file, and go on to what is in it."""
    try:
        kept = waiting.waiting_keep(by=request.user, upload=uploads.receive(request))
    except (UploadRefused, PlanLimitReached) as refusal:
        return _choose(request, refusal=refusal.message, status=refusal.status)
    return redirect("members_import_columns", kept.pk)


@read_access("members.write")
def members_import_columns(request: MemberRequest, waiting_id: UUID) -> HttpResponse:
    """What is in the file, and which column is which."""
    return _columns(request, waiting_id, ImportForm())


@write_access("members.write")
def members_import_start(request: MemberRequest, waiting_id: UUID) -> HttpResponse:
    """Start the import, and go on to where it is watched."""
    form = ImportForm(request.POST)
    if form.is_valid():
        try:
            job = waiting.waiting_start(
                by=request.user,
                waiting_id=waiting_id,
                columns=_chosen(request.POST),
                mode=form.cleaned_data["mode"],
                dry_run=form.cleaned_data["dry_run"],
            )
            return redirect("job_detail", job.pk)
        except (InvalidField, PlanLimitReached) as refusal:
            return _columns(request, waiting_id, form, refusal=refusal.message)
        except NotFound:
            return _gone(request)
    return _columns(request, waiting_id, form)


@write_access("members.write")
def members_import_remove(request: MemberRequest, waiting_id: UUID) -> HttpResponse:
    """Throw the file away, and choose another one."""
    waiting.waiting_remove(by=request.user, waiting_id=waiting_id)
    return redirect("members_import")


@write_access("jobs.write")
def members_export(request: MemberRequest) -> HttpResponse:
    """Start an export; the filter of the list goes along."""
    params = {"format": request.POST.get("format", "csv"), "q": request.POST.get("q", "").strip()[:200]}
    if params["format"] not in (formats := exports.file_formats()):
        messages.error(request, f"Choose one of the formats: {', '.join(formats.values())}.")
        return redirect("member_list")
    try:
        job = job_start(kind=exports.KIND, params=params)
    except (ParametersInvalid, PlanLimitReached) as refusal:
        messages.error(request, refusal.message)
        return redirect("member_list")
    return redirect("job_detail", job.pk)


def _choose(request: MemberRequest, *, refusal: str = "", status: int = 200) -> HttpResponse:
    facts = {
        "refusal": refusal,
        "max_bytes": settings.UPLOAD_MAX_BYTES,
        "max_megabytes": settings.UPLOAD_MAX_BYTES // (1024 * 1024),
    }
    return render(request, "accounts/members_import.html", facts, status=status)


def _columns(request: MemberRequest, waiting_id: UUID, form: ImportForm, *, refusal: str = "") -> HttpResponse:
    try:
        kept = waiting.waiting_get(by=request.user, waiting_id=waiting_id)
        header, rows = waiting.waiting_preview(kept)
    except NotFound:
        return _gone(request)
    except UploadRefused as error:  # the file was taken, so its storage has changed it
        return _choose(request, refusal=error.message, status=error.status)
    chosen = {place: name for name, place in kept.columns.items()}
    if form.is_bound:
        chosen = dict(_places(request.POST))
    facts = {
        "waiting": kept,
        "columns": [
            {"place": place, "name": name, "chosen": chosen.get(place, "")} for place, name in enumerate(header)
        ],
        "rows": rows,
        "are_first": len(rows) == waiting.PREVIEW,
        "form": form,
        "refusal": refusal,
    }
    return render(request, "accounts/members_import_columns.html", facts, status=422 if form.is_bound else 200)


def _chosen(posted: QueryDict) -> dict[str, int]:
    """The column for each name. Raises InvalidField where one was chosen twice."""
    columns: dict[str, int] = {}
    for place, name in _places(posted):
        if name in columns:
            raise InvalidField("columns", f"Only one column can be the {name}.")
        columns[name] = place
    return columns


def _places(posted: QueryDict) -> list[tuple[int, str]]:
    prefix = "column-"
    named = [(field.removeprefix(prefix), str(name)) for field, name in posted.items() if field.startswith(prefix)]
    return [(int(place), name) for place, name in named if name and place.isdecimal() and len(place) < 6]


def _gone(request: MemberRequest) -> HttpResponse:
    messages.info(request, "This file was started, thrown away, or has waited too long. Choose it again.")
    return redirect("members_import")
