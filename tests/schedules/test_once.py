"""Each time has exactly one job, whoever comes for it at once and wherever somebody is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.beat import PersistentScheduler
from django.conf import settings
from django.db import transaction
from pytest_django import DjangoDbBlocker

from accounts.models import User
from accounts.roles import Role
from activity.jobs.models import Job
from activity.schedules import selectors, services
from activity.schedules.models import Schedule
from config.celery import app
from tenants import context
from tenants.models import JobSchedule
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant
from tests.operations.conftest import start_program  # noqa: F401  a fixture
from tests.operations.processes import Started
from tests.schedules.conftest import dispatched, make, make_due
from tests.system import wait_for

SCHEDULES = 3
DISPATCHERS = 3


class Dispatcher:
    """tests.schedules.dispatch_process."""

    def __init__(self, ref: TenantRef, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.schedules.dispatch_process", ref.id, *options],
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"it ended before it was {word}")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def dispatchers(ref: TenantRef, count: int, *options: str) -> Iterator[list[Dispatcher]]:
    """So many, ready to go."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            found.append(Dispatcher(ref, *options))
            stack.callback(found[-1].kill)
        for each in found:
            each.wait_for("ready")
        yield found


def with_schedules(ref: TenantRef) -> None:
    """Some that are due, in the active tenant."""
    person = User.objects.create_user(f"olga@{ref.slug}.example", None, name="Olga", role=Role.OWNER)
    for number in range(SCHEDULES):
        make(person, name=f"No. {number}")
    make_due()


def jobs_of_schedules() -> list[int]:
    """How many jobs each schedule of the active tenant has."""
    found = Counter(Job.objects.filter(kind="members.export").values_list("idempotency_key", flat=True))
    if None in found:  # the control's have no keys: all that there are, by schedule
        return [Job.objects.filter(kind="members.export").count()]
    return sorted(found.values())


def started_at_once(lasting_tenant: LastingTenant, *options: str) -> list[int]:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        with_schedules(ref)
        with dispatchers(ref, DISPATCHERS, *options) as all_of_them:
            for each in all_of_them:
                each.go()
            for each in all_of_them:
                each.wait_for("done")
        return jobs_of_schedules()


def test_of_three_at_once_one_starts_each(lasting_tenant: LastingTenant) -> None:
    assert started_at_once(lasting_tenant) == [1] * SCHEDULES


def test_without_lock_and_keys_all_three_start_it(lasting_tenant: LastingTenant) -> None:
    """The control."""
    (count,) = started_at_once(lasting_tenant, "careless")
    assert count > SCHEDULES


def started_after_kills(lasting_tenant: LastingTenant) -> list[int]:
    """Kill two, one after the other, between the claim and the commit; then let one do it."""
    ref = lasting_tenant()
    with context.use_tenant(ref):
        with_schedules(ref)
        for _ in range(2):
            with dispatchers(ref, 1, "hold") as (held,):
                held.go()
                held.wait_for("held")
        # The killed ones' locks are there until Postgres has noticed.
        wait_for(lambda: dispatched(ref) >= 0 and not Schedule.objects.filter(last_job_id=None).exists(), timeout=20)
        assert dispatched(ref) == 0
        assert all(schedule.next_at is not None for schedule in Schedule.objects.all())
        return jobs_of_schedules()


def test_who_is_killed_before_the_commit_leaves_nothing(lasting_tenant: LastingTenant) -> None:
    assert started_after_kills(lasting_tenant) == [1] * SCHEDULES


def test_without_the_one_commit_what_the_killed_ones_started_is_started_again(lasting_tenant: LastingTenant) -> None:
    """The control: jobs of theirs are there."""
    ref = lasting_tenant()
    with context.use_tenant(ref):
        with_schedules(ref)
        with dispatchers(ref, 1, "hold", "careless") as (held,):
            held.go()
            held.wait_for("held")
        with dispatchers(ref, 1, "careless") as (other,):
            other.go()
            other.wait_for("done")
        assert Job.objects.count() == SCHEDULES + 1


# --- Control's row ---------------------------------------------------------------------------------------------------------


def row_after_a_change_meanwhile(lasting_tenant: LastingTenant, blocker: DjangoDbBlocker) -> float:
    """Seconds until the tenant is looked after, when the dispatcher looked while a schedule was made that is due in ten minutes."""
    ref = lasting_tenant()
    with context.use_tenant(ref):
        person = User.objects.create_user(f"olga@{ref.slug}.example", None, name="Olga", role=Role.OWNER)
        make(person, every="month", day=(selectors.now().day + 14) % 28 + 1)

    def look() -> None:
        with blocker.unblock(), context.use_tenant(ref):
            dispatched(ref)

    looking = threading.Thread(target=look)
    with context.use_tenant(ref):
        with transaction.atomic():
            soon = selectors.now() + timedelta(minutes=10)
            make(person, every="hour", minute=soon.astimezone(UTC).minute, at=None)
            looking.start()
            looking.join(2)  # it waits, or has ended without it
        looking.join()
        found = JobSchedule.objects.get(tenant_id=ref.id)
        return (found.due_at - selectors.now()).total_seconds()


def test_what_is_planned_while_the_dispatcher_looks_is_not_put_off(
    lasting_tenant: LastingTenant, django_db_blocker: DjangoDbBlocker
) -> None:
    assert row_after_a_change_meanwhile(lasting_tenant, django_db_blocker) < 11 * 60


def test_without_taking_turns_it_would_be(
    lasting_tenant: LastingTenant, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(services, "planning", transaction.atomic)
    assert row_after_a_change_meanwhile(lasting_tenant, django_db_blocker) > 50 * 60


# --- Beats and workers -------------------------------------------------------------------------------------------------


def upkeep_done(file: Path) -> str:
    """A beat's file in which only sweeps are due."""
    scheduler = PersistentScheduler(app, schedule_filename=str(file), lazy=True)
    scheduler.setup_schedule()
    scheduler.close()
    return str(file)


@pytest.mark.xdist_group("celery")  # nobody else takes the messages
def test_with_three_beats_and_two_workers_each_runs_once(
    lasting_tenant: LastingTenant,
    start_program: Callable[..., Started],  # noqa: F811
    tmp_path: Path,
) -> None:
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    ref = lasting_tenant()
    with context.use_tenant(ref):
        with_schedules(ref)
    with context.use_control():
        assert JobSchedule.objects.filter(tenant_id=ref.id).update(due_at="2026-01-01T00:00:00Z") == 1
    celery: Any = ("celery", "-A", "config", "--quiet")
    for number in range(2):
        start_program(
            *celery, "worker", "--pool", "prefork", "--concurrency", "2", "-n", f"w{number}@%h", process="worker"
        )
    for number in range(3):
        start_program(*celery, "beat", "--schedule", upkeep_done(tmp_path / f"beat{number}"), process="beat")
    with context.use_tenant(ref):
        for turn in (1, 2):
            wait_for(lambda turn=turn: finished() == SCHEDULES * turn, timeout=90, what=f"turn {turn}")
            make_due()
            JobSchedule.objects.filter(tenant_id=ref.id).update(due_at="2026-01-01T00:00:00Z")
        wait_for(lambda: finished() == SCHEDULES * 3, timeout=60, what="the last turn")
        assert jobs_of_schedules() == [1] * (SCHEDULES * 3)
        assert set(Job.objects.values_list("state", flat=True)) == {"succeeded"}
        assert not Schedule.objects.filter(is_paused=True).exists()
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()


def finished() -> int:
    return Job.objects.filter(kind="members.export", state="succeeded").count()
