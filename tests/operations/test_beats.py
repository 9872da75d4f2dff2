"""The daily work is sent once, whatever number of beats runs."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
import redis
from celery.beat import PersistentScheduler
from celery.schedules import crontab, schedule
from django.conf import settings

from config import beat
from config.beat import Scheduler, is_due_after
from config.celery import app
from tenants import context, system_schedules
from tenants.models import SystemSchedule
from tests.operations.processes import Started
from tests.proxy import Proxy
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")  # nobody else takes the messages

BEATS = 2
DAILY = {name for name, entry in settings.CELERY_BEAT_SCHEDULE.items() if isinstance(entry["schedule"], crontab)}


@pytest.fixture
def control(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Control as processes see it, where nothing was sent yet."""
    with django_db_blocker.unblock():
        forget()
        yield
        forget()


def forget() -> None:
    with context.use_control():
        SystemSchedule.objects.all().delete()


def overdue(file: Path) -> str:
    """A beat's file in which everything was sent two days ago."""
    scheduler = PersistentScheduler(app, schedule_filename=str(file), lazy=True)
    scheduler.setup_schedule()
    for entry in scheduler.schedule.values():
        entry.last_run_at = datetime.now(UTC) - timedelta(days=2)
    scheduler.close()
    return str(file)


def messages(broker: Any) -> list[tuple[str, str]]:
    """What waits for a worker: the task (of a fan-out, the one that it sends on) and the process that sent it."""
    found = []
    for raw in broker.lrange("tenantry", 0, -1):
        message = json.loads(raw)
        _, arguments, _ = json.loads(base64.b64decode(message["body"]))
        found.append((arguments.get("task", message["headers"]["task"]), message["headers"]["origin"]))
    return found


def sweeping(broker: Any) -> int:
    """How many beats have sent three sweeps: each begins with what is overdue, and has been through it by then."""
    sweeps = Counter(origin for task, origin in messages(broker) if task == "activity.sweep")
    return sum(count >= 3 for count in sweeps.values())


@pytest.mark.parametrize("is_stock", [False, True], ids=["claimed", "control: Celery's own scheduler"])
def test_two_beats_send_the_daily_work_once(
    control: None, start_program: Callable[..., Started], tmp_path: Path, is_stock: bool
) -> None:
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    broker.flushdb()
    variables = {"DJANGO_SETTINGS_MODULE": "tests.operations.settings_stock_beat"} if is_stock else {}
    for number in range(BEATS):
        file = overdue(tmp_path / f"due{number}")
        start_program("celery", "-A", "config", "--quiet", "beat", "--schedule", file, process="beat", **variables)
    wait_for(lambda: sweeping(broker) == BEATS, timeout=60, what="all beats' sweeps")
    sent = Counter(task for task, _ in messages(broker))
    assert {sent[name] for name in DAILY} == ({BEATS} if is_stock else {1})
    assert sent["tenants.reap"] == (BEATS if is_stock else 1)
    broker.flushdb()


@pytest.mark.parametrize("was_sent_before", [True, False])
def test_what_the_broker_did_not_take_is_sent_once_it_is_back(
    control: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_sent_before: bool
) -> None:
    """By a beat that still reaches it, here."""
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    broker.flushdb()
    if was_sent_before:
        with context.use_control():
            for name in settings.CELERY_BEAT_SCHEDULE:
                SystemSchedule.objects.create(name=name, sent_at=datetime.now(UTC) - timedelta(days=2))
    with Proxy(settings.CELERY_BROKER_URL) as proxy:
        cut_off = Scheduler(app, schedule_filename=overdue(tmp_path / "cut off"))
        cut_off.connection = app.connection_for_write(proxy.url)
        assert cut_off.producer
        proxy.refuse_connects()
        proxy.cut()
        while cut_off.tick() == 0:
            pass
        cut_off.close()
    assert not DAILY & {task for task, _ in messages(broker)}

    monkeypatch.setattr(beat, "CATCH_UP_EVERY", 0.0)
    other = Scheduler(app, schedule_filename=str(tmp_path / "other"))
    other.tick()
    other.tick()
    other.close()
    sent = Counter(task for task, _ in messages(broker))
    assert {sent[name] for name in DAILY} == {1}
    broker.flushdb()


def test_of_many_claims_at_once_one_is_granted(control: None) -> None:
    now = datetime.now(UTC)
    for due in range(3):
        gate, granted = Barrier(8), []

        def ask(moment: datetime, gate: Barrier = gate, granted: list[bool] = granted) -> None:
            gate.wait()
            with system_schedules.claimed("a test's", now=moment, is_due=lambda sent: sent < moment) as is_mine:
                granted.append(is_mine)

        threads = [Thread(target=ask, args=(now + timedelta(days=due),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(granted) == [False] * 7 + [True]


def test_what_a_clock_that_was_ahead_has_claimed_is_due(control: None) -> None:
    """Else the daily work would wait for that day; clocks that differ by some minutes don't do it twice."""
    now, name = datetime.now(UTC), "a clock's"

    def ask(moment: datetime) -> bool:
        day = timedelta(days=1)
        with system_schedules.claimed(name, now=moment, is_due=lambda sent: sent < moment - day) as is_mine:
            return is_mine

    assert ask(now + timedelta(minutes=5))
    assert not ask(now)
    assert ask(now + timedelta(days=365))
    assert ask(now)
    assert not ask(now)


def test_when_a_schedule_is_due_again() -> None:
    now = datetime.now(UTC)
    daily = crontab(hour="4", minute="10", nowfun=lambda: datetime(2026, 5, 4, 4, 10, 1, tzinfo=UTC))
    assert is_due_after(daily, datetime(2026, 5, 3, 4, 10, 5, tzinfo=UTC))
    assert not is_due_after(daily, datetime(2026, 5, 4, 4, 10, 0, tzinfo=UTC))
    assert is_due_after(schedule(300), now - timedelta(seconds=299))  # the beat's own last one was a little earlier
    assert not is_due_after(schedule(300), now - timedelta(seconds=150))
