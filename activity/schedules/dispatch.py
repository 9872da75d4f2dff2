"""What the system does with schedules: it starts the jobs of those that are due, each time exactly one.

The job, its event and when the schedule is due next are one commit, under the lock of the schedule's row. So whoever else comes for the
same time finds it taken, and whoever is killed leaves it as it was. What was missed in an outage is started once.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

import structlog
from django.db import DatabaseError, transaction
from django.db.models import Min
from django.db.models.functions import Now

from activity.context import Actor, RecordingContext, recording_as
from activity.jobs.models import Job
from activity.jobs.services import job_start
from activity.outbox import record
from activity.schedules import due, events, selectors, services
from activity.schedules.errors import CannotRun
from activity.schedules.models import Schedule
from tenants import time_zones
from tenants.errors import PlanLimitReached
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

DISPATCH: Final = "schedules.dispatch"  # the task's name


def dispatch_due(ref: TenantRef) -> int:
    """Start what is due of the active tenant, `ref`, and say in control when to look again; returns how many jobs were started.

    One that fails keeps no other from being started, and is tried again. Raises django.db.DatabaseError.
    """
    tenant_zone, count = time_zones.of_tenant(ref), 0
    for schedule_id in selectors.due_ids():
        try:
            count += _dispatch(schedule_id, tenant_zone)
        except DatabaseError as error:
            log.warning("schedule_late", schedule=str(schedule_id), error=type(error).__name__)
        except Exception:
            log.exception("schedule_failed", schedule=str(schedule_id))
    _look_again(ref)
    return count


def _dispatch(schedule_id: UUID, tenant_zone: str) -> bool:
    """Start the schedule's job if it is (still) due, or pause it with the reason; whether a job was started."""
    with transaction.atomic():
        is_due = Schedule.objects.filter(pk=schedule_id, is_paused=False, next_at__lte=Now())
        schedule: Any = is_due.select_for_update(skip_locked=True).annotate(now=Now()).first()
        if schedule is None:  # somebody else has it, or has changed it
            return False
        try:
            services.check_runnable(schedule)
            key = schedule.occurrence_key
            schedule.plan(tenant_zone, after=schedule.now)
        except ZoneInfoNotFoundError:
            return _pause(schedule, f"The time zone {schedule.planned_in} is no longer known.")
        except CannotRun as reason:
            return _pause(schedule, reason.message)
        try:
            job = _start(schedule, key)
        except PlanLimitReached as refusal:
            return _skip(schedule, refusal.message)
        is_started = bool(job.idempotency_key == key)
        if is_started:
            schedule.last_job_id, schedule.last_at = job.pk, schedule.now
        else:
            log.info("schedule_still_runs", schedule=str(schedule_id), job=str(job.pk))
        schedule.save()
    return is_started


def _start(schedule: Schedule, key: str) -> Job:
    """The job of the time that `key` names, or the former one if that isn't finished: in the name of whoever made the schedule."""
    with recording_as(RecordingContext(actor=Actor(**schedule.actor), source="system")):
        return job_start(
            kind=schedule.kind,
            params=schedule.params,
            idempotency_key=key,
            unique=schedule.unique_key,
        )


def _skip(schedule: Schedule, reason: str) -> bool:
    """This time is left out: waiting for the next day would have the tenant looked after all the while."""
    schedule.save()
    record(events.ScheduleSkipped.of(schedule, reason=reason))
    log.info("schedule_skipped", schedule=str(schedule.pk), reason=reason)
    return False


def _pause(schedule: Schedule, reason: str) -> bool:
    schedule.is_paused, schedule.paused_reason, schedule.next_at = True, reason[:500], None
    schedule.save()
    record(events.SchedulePaused.of(schedule, reason=schedule.paused_reason))
    log.info("schedule_paused", schedule=str(schedule.pk), reason=reason)
    return False


def _look_again(ref: TenantRef) -> None:
    """Say in control when the next one is due, by what has committed: whoever plans one waits for the end of this, or is seen."""
    followed = None
    with suppress(ZoneInfoNotFoundError):  # then those that follow it are paused when they are due
        followed = services.schedules_follow()  # a commit of its own: what control is told has committed
    with services.planning():
        next_at = Schedule.objects.filter(is_paused=False).aggregate(next=Min("next_at"))["next"]
        now, zone = selectors.now(), time_zones.of_tenant(ref)
        is_changed = followed is not None and zone != followed  # since then, by somebody who may have been cut short
        if next_at is not None and (next_at <= now or is_changed):
            next_at = now + due.SWEEP_AGAIN
        due.put(ref, next_at)
