"""What people and programs do with schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from typing import Any, Final, TypeVar
from unicodedata import category
from zoneinfo import ZoneInfoNotFoundError

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from activity.context import Actor, circumstances
from activity.jobs.errors import KindUnknown, ParametersInvalid
from activity.jobs.kinds import Kind, find_kind, kind_of
from activity.jobs.models import Job
from activity.jobs.services import job_start
from activity.outbox import record
from activity.schedules import due, events, selectors
from activity.schedules.errors import CannotRun, ScheduleInvalid, ScheduleNotFound, TooManySchedules
from activity.schedules.models import Schedule
from activity.schedules.recurrence import FIELDS, recurrence_of
from tenants import context, time_zones

T = TypeVar("T")

MAX_SCHEDULES: Final = 50
MAX_NAME: Final = 100
STARTING: Final = "jobs.write"  # what one must be allowed, besides what the kind itself asks for

_PLANNING: Final = 7_203_206  # the advisory lock's key; such locks are each database's own
_OFTEN: Final = ("every", "minute", "at", "weekday", "day")


def schedule_create(
    *, name: str, kind: str, params: Mapping[str, Any] | None = None, time_zone: str = "", **often: Any
) -> Schedule:
    """A schedule that runs with the rights of whoever the recording context names. `often` is what recurrence_of takes.

    Without a time zone it follows the organisation's. Raises ScheduleInvalid for all that can't be accepted, and TooManySchedules.
    """
    schedule, fields = Schedule(actor=asdict(circumstances().actor)), _Fields()
    fields.take(lambda: setattr(schedule, "name", _name(name)))
    fields.take(lambda: setattr(schedule, "kind", _kind(kind).name))
    if schedule.kind:
        fields.take(lambda: setattr(schedule, "params", _params(schedule.kind, params or {})))
    fields.take(lambda: setattr(schedule, "time_zone", _time_zone(time_zone)))
    fields.take(lambda: setattr(schedule, "recurrence", recurrence_of(**often)))
    fields.check()
    with planning():
        if Schedule.objects.count() >= MAX_SCHEDULES:
            raise TooManySchedules(MAX_SCHEDULES)
        _plan(schedule)
        schedule.save(force_insert=True)
        record(events.ScheduleCreated.of(schedule, params=schedule.params, often=schedule.recurrence.in_words()))
    return Schedule.objects.get(pk=schedule.pk)


def schedule_update(*, schedule: Schedule, is_paused: bool | None = None, **changes: Any) -> Schedule:
    """Change what is given, then pause it or let it go on.

    One that goes on and whose maker may no longer do this becomes that of whoever lets it go on. Raises ScheduleInvalid, CannotRun for one
    that could not be run, and ScheduleNotFound.
    """
    with planning():
        schedule = _locked(schedule)
        former = _told(schedule)
        _change(schedule, changes)
        now = _told(schedule)
        changed = {field: [former[field], now[field]] for field in now if former[field] != now[field]}
        if changed:
            record(events.ScheduleChanged.of(schedule, changes=changed))
        if is_paused and not schedule.is_paused:
            schedule.is_paused, schedule.next_at = True, None
            record(events.SchedulePaused.of(schedule))
        elif is_paused is False and schedule.is_paused:
            _resume(schedule)
        elif changed.keys() & {*_OFTEN, "time_zone"} and not _is_due(schedule):  # which is planned when that is done
            _plan(schedule)
        schedule.save()
    return Schedule.objects.get(pk=schedule.pk)


def schedule_delete(*, schedule: Schedule) -> None:
    """Delete a schedule. What it has started goes on. Raises ScheduleNotFound."""
    with transaction.atomic():
        schedule = _locked(schedule)
        record(events.ScheduleDeleted.of(schedule))
        schedule.delete()


def schedule_run(*, schedule: Schedule) -> Job:
    """Start its job now, in the name of whoever the recording context names; the one that isn't finished, while there is one.

    When it is started next stays as it is. Raises KindUnknown, ParametersInvalid, ScheduleNotFound, and django.db.DatabaseError.
    """
    with transaction.atomic():
        schedule = _locked(schedule)
        job = job_start(kind=schedule.kind, params=schedule.params, unique=schedule.unique_key)
        if job.pk != schedule.last_job_id:
            schedule.last_job_id, schedule.last_at = job.pk, job.created_at
            schedule.save(update_fields=["last_job_id", "last_at"])
    return job


def schedules_follow(time_zone: str | None = None) -> str:
    """Plan anew what follows the organisation's time zone: the one that it has, or is given in the caller's transaction.

    So is what was planned while a clock was ahead, or by a zone's former rules. What is due is started first, as it was planned. Returns
    the zone. Raises ZoneInfoNotFoundError.
    """
    with planning():
        # Asked for here: whoever changes the zone holds the lock until that has committed.
        time_zone = time_zone or time_zones.of_tenant(context.current_tenant())
        now = selectors.now()
        for schedule in Schedule.objects.filter(is_paused=False, next_at__gt=now).select_for_update():
            planned = schedule.planned_in, schedule.next_at
            with suppress(ZoneInfoNotFoundError) if schedule.time_zone else nullcontext():
                schedule.plan(time_zone, after=now)
            if (schedule.planned_in, schedule.next_at) != planned:
                schedule.save(update_fields=["planned_in", "next_at"])
    return time_zone


@contextmanager
def planning() -> Iterator[None]:
    """A transaction in which it is said when schedules are due: one at a time in a tenant, until it has committed.

    So the dispatcher, when it puts off the tenant's row in control, has seen all that was planned.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_PLANNING])
        yield


def check_runnable(schedule: Schedule) -> None:
    """Raise CannotRun unless the schedule's job can be started with the rights of its maker."""
    kind = find_kind(schedule.kind)
    if kind is None or not kind.is_offered:
        raise CannotRun("There is no longer such a kind of job to be started by itself.")
    try:
        kind.parse(schedule.params)
    except ParametersInvalid as error:
        raise CannotRun(f"Its parameters are no longer taken ({error.message})") from None
    if not _may(Actor(**schedule.actor), kind):
        raise CannotRun(
            "Whoever made it is no longer a member here, or may no longer do this. Who resumes it has it run with their own rights."
        )


def _may(actor: Actor, kind: Kind) -> bool:
    may_still: Callable[[Actor, str], bool] = import_string(settings.JOBS_STARTER_CHECK)
    return all(may_still(actor, verb) for verb in (STARTING, kind.verb))


def _locked(schedule: Schedule) -> Schedule:
    found = Schedule.objects.select_for_update().filter(pk=schedule.pk).first()
    if found is None:
        raise ScheduleNotFound()
    return found


def _is_due(schedule: Schedule) -> bool:
    return schedule.next_at is None or schedule.next_at <= selectors.now()


def _plan(schedule: Schedule) -> None:
    """Say when it is started next: to control too, before this commits, so that nothing is due unseen."""
    ref = context.current_tenant()
    try:
        schedule.plan(time_zones.of_tenant(ref), after=selectors.now())
    except ZoneInfoNotFoundError:
        raise CannotRun(f"The time zone {schedule.planned_in} is no longer known. Choose another one.") from None
    assert schedule.next_at is not None
    due.bring_forward(ref, schedule.next_at)


def _resume(schedule: Schedule) -> None:
    kind, by = find_kind(schedule.kind), circumstances().actor
    taken_over = kind is not None and not _may(Actor(**schedule.actor), kind)
    if taken_over:
        schedule.actor = asdict(by)
    check_runnable(schedule)
    schedule.is_paused, schedule.paused_reason = False, ""
    _plan(schedule)
    record(events.ScheduleResumed.of(schedule, taken_over=taken_over))


def _change(schedule: Schedule, changes: Mapping[str, Any]) -> None:
    fields = _Fields()
    if "name" in changes:
        fields.take(lambda: setattr(schedule, "name", _name(changes["name"])))
    if "params" in changes:
        fields.take(lambda: setattr(schedule, "params", _params(schedule.kind, changes["params"])))
    if "time_zone" in changes:
        fields.take(lambda: setattr(schedule, "time_zone", _time_zone(changes["time_zone"])))
    given = {field: changes[field] for field in _OFTEN if field in changes}
    if given:
        # What goes with it stays as it was unless it is given too.
        every = given.setdefault("every", schedule.every)
        kept = {field: value for field, value in schedule.recurrence.told().items() if field in FIELDS.get(every, ())}
        fields.take(lambda: setattr(schedule, "recurrence", recurrence_of(**{**kept, **given})))
    fields.check()


def _told(schedule: Schedule) -> dict[str, Any]:
    """What people say of it."""
    own = {"name": schedule.name, "params": schedule.params, "time_zone": schedule.time_zone or None}
    return {**own, **schedule.recurrence.told()}


class _Fields:
    """What is wrong with each field, all told at once."""

    def __init__(self) -> None:
        self.errors: dict[str, list[str]] = {}

    def take(self, check: Callable[[], object]) -> None:
        """Call it, and note the fields that it refuses."""
        try:
            check()
        except (ScheduleInvalid, KindUnknown, ParametersInvalid) as refusal:
            self.errors |= refusal.errors

    def check(self) -> None:
        """Raise ScheduleInvalid if anything was refused."""
        if self.errors:
            raise ScheduleInvalid(self.errors)


def _name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME:
        raise ScheduleInvalid({"name": [f"Use 1 to {MAX_NAME} characters."]})
    if any(category(letter) in {"Cc", "Cs"} for letter in name):
        raise ScheduleInvalid({"name": ["This holds a character that can't be stored."]})
    return name


def _kind(name: str) -> Kind:
    kind = kind_of(name)
    if kind.upload_at:
        raise ScheduleInvalid(
            {"kind": [f"{kind.title} works on a file that somebody sends, so it can't be scheduled."]}
        )
    if kind.own_address:
        raise ScheduleInvalid({"kind": [f"{kind.title} is started by somebody each time, so it can't be scheduled."]})
    return kind


def _params(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return kind_of(kind).parse(params).model_dump(mode="json")


def _time_zone(name: str | None) -> str:
    if name and name not in time_zones.known():
        raise ScheduleInvalid({"time_zone": ["Use the name of a time zone, such as Europe/Berlin."]})
    return name or ""
