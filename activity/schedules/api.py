"""`/schedules`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from activity.api import caller
from activity.jobs.kinds import find_kind, verb_of
from activity.jobs.schemas import JobOut
from activity.schedules import selectors, services
from activity.schedules.models import Schedule
from activity.schedules.schemas import ListFilter, ScheduleIn, ScheduleOut, SchedulePageOut, SchedulePatch

router = Router(tags=["Schedules"])


@router.get("/schedules", response=SchedulePageOut, summary="List schedules, oldest first")
def schedule_list(request: HttpRequest, page: Query[ListFilter]) -> dict[str, Any]:
    caller(request).require("jobs.read")
    found = selectors.schedule_page(limit=page.limit, cursor=page.cursor)
    jobs = selectors.last_jobs(found.items)
    return {"items": [ScheduleOut.of(schedule, jobs) for schedule in found.items], "next": found.next}


@router.post("/schedules", response={201: ScheduleOut}, summary="Have a job started again and again")
def schedule_post(request: HttpRequest, body: ScheduleIn) -> Status[dict[str, Any]]:
    """It runs with the rights of whoever makes it, for as long as they have them. Needs the kind's own permission too."""
    caller(request).require("jobs.write")
    kind = find_kind(body.kind)
    if kind is not None:  # one that isn't there is told with the other fields
        caller(request).require(kind.verb)
    facts = body.model_dump()
    facts["time_zone"] = facts["time_zone"] or ""
    return Status(201, _shown(services.schedule_create(**facts)))


@router.get("/schedules/{uuid:schedule_id}", response=ScheduleOut, summary="A schedule")
def schedule_get(request: HttpRequest, schedule_id: UUID) -> dict[str, Any]:
    caller(request).require("jobs.read")
    return _shown(selectors.schedule_get(schedule_id))


@router.patch("/schedules/{uuid:schedule_id}", response=ScheduleOut, summary="Change, pause or resume a schedule")
def schedule_patch(request: HttpRequest, schedule_id: UUID, body: SchedulePatch) -> dict[str, Any]:
    schedule = _to_change(request, schedule_id)
    return _shown(services.schedule_update(schedule=schedule, **body.model_dump(exclude_unset=True)))


@router.delete("/schedules/{uuid:schedule_id}", response={204: None}, summary="Delete a schedule")
def schedule_delete(request: HttpRequest, schedule_id: UUID) -> Status[None]:
    """What it has started goes on."""
    services.schedule_delete(schedule=_to_change(request, schedule_id))
    return Status(204, None)


@router.post("/schedules/{uuid:schedule_id}/run", response={202: JobOut}, summary="Start a schedule's job now")
def schedule_run(request: HttpRequest, schedule_id: UUID) -> Status[dict[str, Any]]:
    """In your name. While the one before isn't finished, that one is the answer. When it is started next stays as it is."""
    return Status(202, JobOut.of(services.schedule_run(schedule=_to_change(request, schedule_id))))


def _to_change(request: HttpRequest, schedule_id: UUID) -> Schedule:
    caller(request).require("jobs.write")
    schedule = selectors.schedule_get(schedule_id)
    caller(request).require(verb_of(schedule.kind))
    return schedule


def _shown(schedule: Schedule) -> dict[str, Any]:
    return ScheduleOut.of(schedule, selectors.last_jobs([schedule]))
