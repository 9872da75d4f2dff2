"""Reading schedules, and their last jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from activity.jobs.models import Job
from activity.schedules.errors import ScheduleNotFound
from activity.schedules.models import Schedule
from tenants.pages import Page, keyset_page


def schedules() -> list[Schedule]:
    """All of them, oldest first: there are few (services.MAX_SCHEDULES)."""
    return list(Schedule.objects.order_by("created_at", "id"))


def schedule_page(*, limit: int = 50, cursor: str | None = None) -> Page[Schedule]:
    """A page of the schedules, oldest first. Raises BadCursor."""
    return keyset_page(Schedule.objects.all(), limit=limit, cursor=cursor)


def schedule_get(schedule_id: UUID) -> Schedule:
    """A schedule. Raises ScheduleNotFound."""
    schedule = Schedule.objects.filter(pk=schedule_id).first()
    if schedule is None:
        raise ScheduleNotFound()
    return schedule


def last_jobs(schedules: Iterable[Schedule]) -> dict[UUID, Job]:
    """The last job of each schedule by its id, where there is one that hasn't been pruned."""
    return Job.objects.in_bulk([found for schedule in schedules if (found := schedule.last_job_id) is not None])


def due_ids() -> list[UUID]:
    """The schedules that are due, the longest first."""
    due = Schedule.objects.filter(is_paused=False, next_at__lte=Now())
    return list(due.order_by("next_at", "id").values_list("id", flat=True))


def now() -> datetime:
    """The moment, by Postgres's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
