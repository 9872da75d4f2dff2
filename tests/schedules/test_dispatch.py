"""What is due is started once, in its maker's name and with their rights, or paused with the reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import DatabaseError
from django.db.models import F
from django.db.models.functions import Now
from pydantic import BaseModel

from accounts.models import User
from accounts.recording import recording_as
from accounts.roles import Role
from accounts.services.members import member_deactivate, member_remove
from accounts.services.tenant import tenant_update
from activity.archive import own_parts
from activity.jobs import kinds as registry
from activity.jobs import services as job_services
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.schedules import dispatch, due, selectors, services, tasks
from activity.schedules.errors import CannotRun
from activity.schedules.models import Schedule
from tenants import time_zones
from tenants.context import use_control, use_tenant
from tenants.models import JobSchedule, Tenant
from tenants.refs import TenantRef
from tests.jobs.kinds import Kinds
from tests.schedules.conftest import dispatched, events_of, jobs, make, make_due, row


@pytest.fixture
def kind(kinds: Kinds) -> str:
    """A kind that does nothing, and leaves no file."""
    return kinds.add(lambda run, params: None, verb="members.read")


def seconds_to_row(ref: TenantRef) -> float:
    found = row(ref)
    assert found is not None
    with use_control():
        return (found.due_at - selectors.now()).total_seconds()


# --- Starting --------------------------------------------------------------------------------------------------------------


def test_what_is_due_is_started_and_planned_anew(tenant: TenantRef, owner: User, kind: str) -> None:
    schedule = make(owner, kind=kind)
    planned = schedule.next_at
    assert planned is not None
    assert dispatched(tenant) == 0
    assert jobs() == []
    make_due()
    assert dispatched(tenant) == 1
    (job,) = jobs()
    schedule.refresh_from_db()
    assert (schedule.last_job_id, schedule.next_at) == (job.pk, planned)
    assert (job.kind, job.state, job.schedule_id) == (kind, "queued", str(schedule.pk))
    assert dispatched(tenant) == 0
    assert run_job(job.pk) == "succeeded"


def test_the_job_s_events_name_its_maker_and_the_schedule(tenant: TenantRef, owner: User, kind: str) -> None:
    schedule = make(owner, kind=kind)
    make_due()
    dispatched(tenant)
    run_job(jobs()[0].pk)
    started, ended = events_of(tenant, "job.")
    assert (started["action"], ended["action"]) == ("job.started", "job.succeeded")
    assert started["actor"] == ended["actor"] == {"type": "member", "id": str(owner.pk), "name": "Olivia"}
    assert (started["source"], started["data"]["schedule"]) == ("system", str(schedule.pk))


def test_what_was_missed_is_started_once(tenant: TenantRef, owner: User, kind: str) -> None:
    schedule = make(owner, kind=kind, every="hour", minute=0, at=None)
    make_due(ago=timedelta(days=10))
    assert dispatched(tenant) == 1
    run_job(jobs()[0].pk)
    assert dispatched(tenant) == 0
    schedule.refresh_from_db()
    assert schedule.next_at is not None
    assert timedelta(0) < schedule.next_at - selectors.now() <= timedelta(hours=1)


def test_a_run_that_is_not_finished_is_not_doubled(tenant: TenantRef, owner: User, kind: str) -> None:
    schedule = make(owner, kind=kind)
    make_due()
    dispatched(tenant)
    make_due()
    assert dispatched(tenant) == 0
    (job,) = jobs()
    schedule.refresh_from_db()
    assert schedule.last_job_id == job.pk
    assert schedule.next_at is not None
    assert schedule.next_at > selectors.now()  # that time is over
    run_job(job.pk)
    make_due()
    assert dispatched(tenant) == 1
    assert len(jobs()) == 2


def test_a_time_at_which_the_plan_allows_no_job_is_left_out(
    tenant: TenantRef, owner: User, kind: str, settings: Any
) -> None:
    schedule = make(owner, kind=kind)
    planned = schedule.next_at
    settings.PLAN_LIMITS = {"job_seconds": {"free": 0}}
    make_due()
    assert dispatched(tenant) == 0
    schedule.refresh_from_db()
    assert (schedule.next_at, schedule.last_job_id, schedule.is_paused, jobs()) == (planned, None, False, [])
    skipped = events_of(tenant, "schedule.skipped")
    assert [event["data"]["reason"].split(",")[0] for event in skipped] == [
        "The plan free has 0 seconds a day for jobs"
    ]
    settings.PLAN_LIMITS = {}
    make_due()
    assert dispatched(tenant) == 1


def test_one_that_fails_keeps_no_other_from_its_time(
    tenant: TenantRef, owner: User, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(owner, kind=kind, name="Bad")
    make(owner, kind=kind, name="Good")
    make_due()
    start = dispatch._start
    for error in (DatabaseError(), ValueError("unforeseen")):

        def fail(schedule: Schedule, key: str, error: Exception = error) -> Job:
            if schedule.name == "Bad":
                raise error
            return start(schedule, key)

        monkeypatch.setattr(dispatch, "_start", fail)
        dispatched(tenant)
        assert [Schedule.objects.get(pk=job.schedule_id).name for job in jobs()] == ["Good"]
        assert 10 < seconds_to_row(tenant) < 20  # it is tried again
    monkeypatch.setattr(dispatch, "_start", start)
    assert dispatched(tenant) == 1


def test_a_summary_that_cannot_be_announced_leaves_it_due(
    tenant: TenantRef, owner: User, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(owner, kind=kind)
    make_due()

    def away(*_: Any, **__: Any) -> None:
        raise DatabaseError("control is away")

    with monkeypatch.context() as patched:
        patched.setattr(job_services.summaries, "announce", away)
        assert dispatched(tenant) == 0
    assert dispatched(tenant) == 1
    assert len(jobs()) == 1


# --- Rights ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["removed", "deactivated", "demoted"])
def test_when_its_maker_s_rights_have_ended_it_is_paused(
    tenant: TenantRef, owner: User, admin: User, kind: str, end: str
) -> None:
    schedule = make(admin, kind=kind)
    with recording_as(owner):
        if end == "removed":
            member_remove(member=admin, by=owner)
        elif end == "deactivated":
            member_deactivate(member=admin, by=owner)
        else:  # a member still reads members, but starts no jobs
            User.objects.filter(pk=admin.pk).update(role=Role.MEMBER)
    make_due()
    assert dispatched(tenant) == 0
    assert jobs() == []
    schedule.refresh_from_db()
    assert (schedule.is_paused, schedule.next_at) == (True, None)
    assert schedule.paused_reason.startswith("Whoever made it is no longer a member here")
    event = events_of(tenant)[-1]
    assert (event["action"], event["actor"]["type"]) == ("schedule.paused", "system")
    assert event["data"]["reason"] == schedule.paused_reason
    assert row(tenant) is None


def test_while_they_last_it_goes_on(tenant: TenantRef, admin: User, kind: str) -> None:
    """The control of the test above."""
    make(admin, kind=kind)
    make_due()
    assert dispatched(tenant) == 1


def test_who_resumes_it_then_has_it_run_in_their_name(tenant: TenantRef, owner: User, admin: User, kind: str) -> None:
    schedule = make(admin, kind=kind)
    User.objects.filter(pk=admin.pk).update(role=Role.VIEWER)
    make_due()
    dispatched(tenant)
    with recording_as(owner):
        schedule = services.schedule_update(schedule=schedule, is_paused=False)
    assert (schedule.actor["name"], schedule.paused_reason) == ("Olivia", "")
    assert events_of(tenant)[-1]["data"]["taken_over"] is True
    make_due()
    assert dispatched(tenant) == 1
    assert jobs()[0].actor["name"] == "Olivia"


def test_one_that_is_resumed_by_another_stays_its_maker_s(
    tenant: TenantRef, owner: User, admin: User, kind: str
) -> None:
    schedule = make(admin, kind=kind)
    with recording_as(owner):
        services.schedule_update(schedule=schedule, is_paused=True)
        schedule = services.schedule_update(schedule=schedule, is_paused=False)
    assert schedule.actor["name"] == "Adam"
    assert events_of(tenant)[-1]["data"]["taken_over"] is False


def test_parameters_that_a_release_no_longer_takes(
    tenant: TenantRef, owner: User, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(BaseModel):
        month: int

    schedule = make(owner, kind=kind)
    found = registry._kinds[kind]
    changed = registry.Kind(found.name, found.title, found.verb, Strict, found.run)
    monkeypatch.setitem(registry._kinds, kind, changed)
    make_due()
    dispatched(tenant)
    schedule.refresh_from_db()
    assert schedule.paused_reason.startswith("Its parameters are no longer taken (params.month")
    with recording_as(owner), pytest.raises(CannotRun):
        services.schedule_update(schedule=schedule, is_paused=False)
    with recording_as(owner):
        assert not services.schedule_update(schedule=schedule, params={"month": 5}, is_paused=False).is_paused


def test_a_kind_that_only_an_address_of_its_own_starts_any_more(
    tenant: TenantRef, owner: User, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = make(owner, kind=kind)
    make_due()
    monkeypatch.setitem(registry._kinds, kind, replace(registry._kinds[kind], own_address="/somewhere"))
    assert dispatched(tenant) == 0
    schedule.refresh_from_db()
    assert (schedule.is_paused, jobs()) == (True, [])


def test_a_zone_that_is_no_longer_known(tenant: TenantRef, owner: User, kind: str) -> None:
    schedule = make(owner, kind=kind)
    Schedule.objects.update(time_zone="Europe/Atlantis")
    make_due()
    dispatched(tenant)
    assert jobs() == []
    schedule.refresh_from_db()
    assert schedule.paused_reason == "The time zone Europe/Atlantis is no longer known."
    with recording_as(owner), pytest.raises(CannotRun, match="Choose another one"):
        services.schedule_update(schedule=schedule, is_paused=False)
    with recording_as(owner):
        assert not services.schedule_update(schedule=schedule, time_zone="Europe/Berlin", is_paused=False).is_paused


def test_a_name_may_have_what_joins_letters(tenant: TenantRef, owner: User, kind: str) -> None:
    name = "\N{ARABIC LETTER MEEM}\N{ZERO WIDTH NON-JOINER}\N{ARABIC LETTER YEH}\N{NO-BREAK SPACE}x"
    assert make(owner, kind=kind, name=name).name == name


def test_a_zone_that_is_changed_while_jobs_are_started_stays_changed(
    tenant: TenantRef, owner: User, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = make(owner, kind=kind)
    due_ids = selectors.due_ids

    def changed_meanwhile() -> Any:
        with recording_as(owner):
            tenant_update(time_zone="Asia/Karachi")
        return due_ids()

    monkeypatch.setattr(selectors, "due_ids", changed_meanwhile)
    dispatched(tenant)
    schedule.refresh_from_db()
    assert schedule.planned_in == "Asia/Karachi"


def test_one_that_is_due_is_started_before_what_was_changed_counts(tenant: TenantRef, owner: User, kind: str) -> None:
    schedule = make(owner, kind=kind)
    make_due()
    with recording_as(owner):
        services.schedule_update(schedule=schedule, at="23:59")
    assert dispatched(tenant) == 1
    schedule.refresh_from_db()
    assert schedule.next_at is not None
    assert (schedule.next_at.hour, schedule.next_at.minute) == (23, 59)


# --- Control's row ---------------------------------------------------------------------------------------------------------


def test_control_is_told_when_to_look(tenant: TenantRef, owner: User, kind: str) -> None:
    assert row(tenant) is None
    now = selectors.now().astimezone(ZoneInfo("UTC"))
    soon, later = now + timedelta(minutes=10), now + timedelta(minutes=40)
    make(owner, kind=kind, every="hour", minute=later.minute, at=None)
    first = seconds_to_row(tenant)
    assert 30 * 60 < first < 41 * 60
    schedule = make(owner, kind=kind, every="hour", minute=soon.minute, at=None)
    assert 8 * 60 < seconds_to_row(tenant) < 11 * 60  # brought forward
    services.schedule_update(schedule=schedule, is_paused=True)
    assert 8 * 60 < seconds_to_row(tenant) < 11 * 60  # it is put off by the dispatcher alone
    dispatched(tenant)
    assert 30 * 60 < seconds_to_row(tenant) < 41 * 60
    Schedule.objects.all().delete()
    dispatched(tenant)
    assert row(tenant) is None


def test_it_is_looked_at_within_an_hour_whatever_is_planned(tenant: TenantRef, owner: User, kind: str) -> None:
    make(owner, kind=kind, every="month", day=(selectors.now().day + 14) % 28 + 1, at="07:00")
    dispatched(tenant)
    assert 59 * 60 < seconds_to_row(tenant) <= 60 * 60


def due_now() -> None:
    with use_control():
        JobSchedule.objects.update(due_at=Now())


def claimed() -> list[str]:
    with use_control():
        return due.claim()


def test_a_tenant_is_claimed_once_and_again_when_nothing_came_of_it(acme: TenantRef, owner: User, kind: str) -> None:
    with use_tenant(acme):
        make(owner, kind=kind)
    assert claimed() == []
    due_now()
    assert claimed() == [acme.id]
    assert claimed() == []
    assert 10 < seconds_to_row(acme) <= 15
    with use_control():
        JobSchedule.objects.update(due_at=F("due_at") - due.SWEEP_AGAIN)
    assert claimed() == [acme.id]


def test_a_suspended_tenant_s_wait_until_it_is_resumed(acme: TenantRef, owner: User, kind: str) -> None:
    with use_tenant(acme):
        make(owner, kind=kind)
        make_due()
    due_now()
    with use_control():
        Tenant.objects.filter(pk=acme.id).update(state=Tenant.State.SUSPENDED)
    assert claimed() == []
    with use_control():
        Tenant.objects.filter(pk=acme.id).update(state=Tenant.State.ACTIVE)
    assert claimed() == [acme.id]
    with use_tenant(acme):
        assert dispatched(acme) == 1


def test_a_row_that_was_lost_is_made_again_by_the_daily_round(tenant: TenantRef, owner: User, kind: str) -> None:
    make(owner, kind=kind)
    make_due()
    with use_tenant(tenant):
        JobSchedule.objects.all().delete()
        assert tasks.dispatch.run() == 1
    assert len(jobs()) == 1
    assert row(tenant) is not None


@pytest.mark.parametrize("time_zone", ["", "Europe/Berlin"])
def test_what_was_planned_while_a_clock_was_ahead_is_planned_anew_by_the_daily_round(
    tenant: TenantRef, owner: User, kind: str, time_zone: str
) -> None:
    schedule = make(owner, kind=kind, time_zone=time_zone)
    planned = schedule.next_at
    assert planned is not None
    Schedule.objects.update(next_at=planned + timedelta(days=365))
    assert tasks.dispatch.run() == 0
    schedule.refresh_from_db()
    assert schedule.next_at == planned
    assert jobs() == []


def test_in_control_there_is_nothing_to_do(tenants: dict[str, TenantRef]) -> None:
    with use_control():
        assert tasks.dispatch.run() == 0


def test_a_change_of_the_tenant_s_zone_that_was_cut_short_is_caught_up_with(
    tenant: TenantRef, owner: User, kind: str
) -> None:
    schedule, own = make(owner, kind=kind), make(owner, kind=kind, time_zone="Europe/Berlin")
    # Control has committed, and the tenant's own transaction hasn't.
    time_zones.update_tenant(tenant, name=tenant.name, time_zone="Asia/Tokyo")
    assert seconds_to_row(tenant) <= 0  # in the same commit
    dispatched(tenant)
    schedule.refresh_from_db()
    assert schedule.next_at is not None
    assert f"{schedule.next_at.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}" == "07:00"
    before: datetime | None = own.next_at
    own.refresh_from_db()
    assert own.next_at == before


def test_what_is_due_when_the_zone_changes_is_started_all_the_same(tenant: TenantRef, owner: User, kind: str) -> None:
    make(owner, kind=kind)
    make_due()
    services.schedules_follow("Asia/Tokyo")
    assert dispatched(tenant) == 1


# --- The archive -----------------------------------------------------------------------------------------------------------


def test_the_archive_has_them(tenant: TenantRef, owner: User, kind: str) -> None:
    schedule = make(owner, kind=kind)
    (entry,) = own_parts.schedules_part()
    content = b"".join(entry.blocks)
    assert entry.name == "schedules.ndjson"
    assert str(schedule.pk).encode() in content
    assert b'"at":"07:00:00"' in content
