"""The sweep names who was written to since a relay last found their outbox empty, and nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson
import pytest
from django.conf import settings
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from activity import outbox, sweep, tasks
from activity.relay import relay
from tenants import context, valkey
from tenants.refs import CONTROL, Ref
from tests.activity.conftest import LastingTenant, report


@pytest.fixture
def nothing_noted(django_db_setup: None) -> Iterator[None]:
    valkey.redis_client().delete(sweep._key())
    yield
    valkey.redis_client().delete(sweep._key())


def flush_counts() -> None:
    """A backend tells of what it wrote at most once a second, unless it is asked to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT 1")


def note_clean(ref: Ref) -> None:
    with context.use(ref):
        relay(ref)  # what it counts and signs are writes too
        flush_counts()
        writes = sweep.writes_here()
        relay(ref)
        sweep.remember_clean(writes)


def unclean() -> set[str]:
    with context.use_control():
        return {found.id for found in sweep.unclean()}


def test_whoever_was_written_to_is_named_until_relayed(lasting_tenant: LastingTenant, nothing_noted: None) -> None:
    busy, idle = lasting_tenant(), lasting_tenant()
    assert {busy.id, idle.id, CONTROL.id} <= unclean()  # nothing is known yet
    for ref in (busy, idle, CONTROL):
        note_clean(ref)
    assert not {busy.id, idle.id, CONTROL.id} & unclean()
    with context.use_tenant(busy):
        with transaction.atomic():
            outbox.record(report(1))
        flush_counts()
    named = unclean()
    assert busy.id in named
    assert not {idle.id, CONTROL.id} & named
    assert busy.id in unclean()  # the relay that was asked for may have died
    note_clean(busy)
    note_clean(busy)
    assert busy.id not in unclean()


def test_what_is_written_while_the_relay_runs_is_found(lasting_tenant: LastingTenant, nothing_noted: None) -> None:
    ref = lasting_tenant()
    note_clean(ref)
    with context.use_tenant(ref):
        writes = sweep.writes_here()
        relay(ref)  # found nothing
        with transaction.atomic():
            outbox.record(report(1))
        sweep.remember_clean(writes)
        flush_counts()
    deadline = time.monotonic() + 5
    while ref.id not in unclean():
        assert time.monotonic() < deadline


def test_the_sweep_asks_for_relays_that_expire(lasting_tenant: LastingTenant, nothing_noted: None) -> None:
    ref = lasting_tenant()
    with context.use_control():
        tasks.sweep_all.run()
    queue = valkey.redis_client().lrange(settings.CELERY_TASK_DEFAULT_QUEUE, 0, -1)
    headers = [orjson.loads(message)["headers"] for message in queue]  # type: ignore[union-attr]
    mine = [each for each in headers if each["tenant"] == ref.id and each["expires"]]
    assert [each["task"] for each in mine] == ["activity.relay"]
    assert CONTROL.id in {each["tenant"] for each in headers}


def test_the_rows_since_it_was_clean_are_counted(lasting_tenant: LastingTenant, nothing_noted: None) -> None:
    ref = lasting_tenant()
    note_clean(ref)
    with context.use_tenant(ref):
        with transaction.atomic():
            outbox.record_all([report(number) for number in range(30)])
        flush_counts()
    with context.use_control():
        rows = {found.id: found.rows for found in sweep.unclean()}
    assert 30 <= rows[ref.id] < 60


def test_of_many_one_sweep_asks_for_some_each_time_others(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "unclean", lambda: [sweep.Unclean(str(number), 1) for number in range(2000)])
    asked: list[str] = []
    monkeypatch.setattr(tasks.relay, "apply_async", lambda *, headers, **_: asked.append(headers["tenant"]))
    with django_db_blocker.unblock(), context.use_control():
        tasks.sweep_all.run()
        assert len(set(asked)) == tasks.SWEEP_AT_ONCE
        tasks.sweep_all.run()
    assert len(set(asked)) > tasks.SWEEP_AT_ONCE
