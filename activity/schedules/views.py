"""Schedules as pages. Who may see them is said where they are routed: accounts, which knows, is above this app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from activity.jobs.errors import JobError
from activity.jobs.kinds import verb_of
from activity.jobs.views import JobsRequest
from activity.schedules import selectors, services
from activity.schedules.errors import ScheduleError, ScheduleNotFound
from activity.schedules.forms import ScheduleForm, what_of
from activity.schedules.models import Schedule
from tenants import time_zones
from tenants.context import current_tenant
from tenants.errors import PlanLimitReached


def schedule_list(request: HttpRequest) -> HttpResponse:
    """The schedules, and a form for another one."""
    return _list(request, _form(request))


def schedule_create(request: HttpRequest) -> HttpResponse:
    """Make a schedule."""
    form = _form(request, request.POST)
    if not form.submit(services.schedule_create):
        return _list(request, form, status=422)
    messages.success(request, f"“{form.result.name}” is scheduled: {form.result.recurrence.in_words()}.")
    return redirect("schedule_list")


def schedule_detail(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """One schedule, to be changed."""
    schedule = _to_change(request, schedule_id)
    return _detail(request, schedule, _form(request, schedule=schedule))


def schedule_update(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Change its name, its format and when it runs."""
    schedule = _to_change(request, schedule_id)
    form = _form(request, request.POST, schedule=schedule)
    if not form.submit(services.schedule_update, schedule=schedule):
        return _detail(request, schedule, form, status=422)
    messages.success(request, f"“{form.result.name}” is saved: {form.result.recurrence.in_words()}.")
    return redirect("schedule_list")


def schedule_pause(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Start no more jobs."""
    return _done(request, schedule_id, _pause)


def schedule_resume(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Go on; with one's own rights if those of its maker have ended."""
    return _done(request, schedule_id, _resume)


def schedule_delete(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Delete it."""
    return _done(request, schedule_id, _delete)


def schedule_run(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Start its job now, and go on to where it is watched."""
    schedule = _to_change(request, schedule_id)
    try:
        job = services.schedule_run(schedule=schedule)
    except (JobError, ScheduleError, PlanLimitReached) as refusal:
        messages.error(request, refusal.message)
        return redirect("schedule_list")
    return redirect("job_detail", job.pk)


def _pause(schedule: Schedule) -> str:
    services.schedule_update(schedule=schedule, is_paused=True)
    return f"“{schedule.name}” is paused."


def _resume(schedule: Schedule) -> str:
    services.schedule_update(schedule=schedule, is_paused=False)
    return f"“{schedule.name}” goes on. What it missed while it was paused isn't made up for."


def _delete(schedule: Schedule) -> str:
    services.schedule_delete(schedule=schedule)
    return f"“{schedule.name}” is deleted."


def _done(request: HttpRequest, schedule_id: UUID, do: Callable[[Schedule], str]) -> HttpResponse:
    schedule = _to_change(request, schedule_id)
    try:
        messages.success(request, do(schedule))
    except ScheduleError as refusal:
        messages.error(request, refusal.message)
    return redirect("schedule_list")


def _list(request: HttpRequest, form: ScheduleForm, status: int = 200) -> HttpResponse:
    found = selectors.schedules()
    jobs = selectors.last_jobs(found)
    verbs = cast(JobsRequest, request).verbs
    rows = [
        {
            "schedule": schedule,
            "what": what_of(schedule),
            "often": schedule.recurrence.in_words(),
            "job": jobs.get(schedule.last_job_id) if schedule.last_job_id else None,
            "may_change": services.STARTING in verbs and verb_of(schedule.kind) in verbs,
        }
        for schedule in found
    ]
    facts: dict[str, Any] = {
        "rows": rows,
        "form": form,
        "may_create": services.STARTING in verbs,
        "is_full": len(rows) >= services.MAX_SCHEDULES,
    }
    return render(request, "schedules/schedules.html", facts, status=status)


def _detail(request: HttpRequest, schedule: Schedule, form: ScheduleForm, status: int = 200) -> HttpResponse:
    facts = {"schedule": schedule, "form": form, "what": what_of(schedule), "often": schedule.recurrence.in_words()}
    return render(request, "schedules/schedule.html", facts, status=status)


def _form(request: HttpRequest, data: Any = None, *, schedule: Schedule | None = None) -> ScheduleForm:
    zone = time_zones.of_tenant(current_tenant())
    return ScheduleForm(data, verbs=cast(JobsRequest, request).verbs, tenant_zone=zone, schedule=schedule)


def _to_change(request: HttpRequest, schedule_id: UUID) -> Schedule:
    try:
        schedule = selectors.schedule_get(schedule_id)
    except ScheduleNotFound as error:
        raise Http404(error.message) from None
    if verb_of(schedule.kind) not in cast(JobsRequest, request).verbs:
        raise PermissionDenied(f"This needs the permission {verb_of(schedule.kind)}.")
    return schedule
