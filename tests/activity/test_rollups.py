"""The rollups count every event of the log once, whatever order it came in and whenever it happened."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from activity import log, rollups, services, tasks
from activity.models import KnownEvent, LogHead, OutboxEvent, Rollup, RollupHead
from activity.relay import Relayed, relay
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant
from tests.activity.counts import counted, counted_hours, recount, recount_hours
from tests.activity.test_ingest import sent
from tests.activity.test_relay import record

NOW = datetime.now(UTC)


def some(count: int, *, seed: int = 1, since: timedelta = timedelta(days=90)) -> list[dict[str, Any]]:
    """Events of several actions and actors, spread over the last months."""
    chance = random.Random(seed)
    return [
        sent(100_000 * seed + number)
        | {
            "at": NOW - since * chance.random(),
            "action": chance.choice(["commit.pushed", "commit.reverted", "release.made"]),
            "actor": {"type": "user", "id": chance.choice(["ada", "grace"]), "name": "Somebody"},
        }
        for number in range(count)
    ]


def ingest(events: list[dict[str, Any]]) -> None:
    for first in range(0, len(events), 1000):
        services.events_ingest(events[first : first + 1000])


def forget_counts() -> None:
    """As in a tenant whose log is older than its counts."""
    Rollup.objects.all().delete()
    RollupHead.objects.all().delete()


def test_counts_are_those_of_the_log(tenant: TenantRef) -> None:
    ingest(some(1200))
    relay(tenant)
    record(1, 2, 3)
    relay(tenant)
    assert counted() == recount(tenant)
    assert counted_hours() == recount_hours(tenant, since=rollups.hours_since())
    head = RollupHead.objects.get()
    assert (head.bottom, head.first, head.last) == (1, 1, 1203)


def test_events_of_any_year_are_counted_and_old_ones_by_day_at_once(tenant: TenantRef) -> None:
    years = [datetime(year, 1, 31, 23, 59, 59, 999_000, UTC) for year in (1, 999, 1969, 2024, 9999)]
    ingest([sent(number) | {"at": at} for number, at in enumerate(years)])
    relay(tenant)
    days = Rollup.objects.filter(series=Rollup.Series.ACTION_DAYS)
    assert sorted(row.start.year for row in days) == [1, 999, 1969, 2024]
    assert sorted(row.start.astimezone(UTC) for row in Rollup.objects.filter(series=Rollup.Series.ACTION_HOURS)) == [
        datetime(9999, 1, 31, 23, tzinfo=UTC)
    ]


def test_rows_that_the_log_has_already_do_not_count_twice(tenant: TenantRef) -> None:
    ingest(some(20))
    relay(tenant)
    before = counted()
    KnownEvent.objects.all().delete()  # as after a week
    ingest(some(20))
    assert relay(tenant) == Relayed(0, 20)
    assert counted() == before == recount(tenant)


def test_the_same_rows_counted_again_change_nothing(tenant: TenantRef) -> None:
    ingest(some(20))
    rows = list(OutboxEvent.objects.order_by("id"))
    for seq, row in enumerate(rows, start=1):
        row.seq = seq
    for portion in (rows[:10], rows[5:15], rows[:15], rows[10:]):
        rollups.count(portion)
    assert sum(counted().values()) == 2 * 20
    assert RollupHead.objects.get().last == 20


def test_a_log_that_is_older_than_its_counts_is_counted(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "PORTION", 70)
    ingest(some(300))
    relay(tenant)
    forget_counts()
    ingest([sent(number) for number in range(1000, 1005)])
    relay(tenant)  # the relay counts what is new from here on
    assert sum(counted().values()) == 2 * 5
    assert not rollups.is_complete(first=1, last=305)
    assert rollups.catch_up(tenant) == 300
    assert rollups.is_complete(first=1, last=305)
    assert counted() == recount(tenant)
    assert rollups.catch_up(tenant) == 0


def test_a_log_to_which_nothing_is_added_is_counted_too(tenant: TenantRef) -> None:
    ingest(some(30))
    relay(tenant)
    forget_counts()
    tasks.keep_rollups.run()
    assert counted() == recount(tenant)


def test_counts_begin_anew_where_numbers_are_missing(tenant: TenantRef) -> None:
    ingest(some(30))
    relay(tenant)
    RollupHead.objects.update(last=20)  # as when Postgres was restored, and the head was led back to where the log is
    ingest([sent(number) for number in range(1000, 1005)])
    relay(tenant)
    assert not rollups.is_complete(first=1, last=35)
    rollups.catch_up(tenant)
    assert counted() == recount(tenant)
    RollupHead.objects.update(last=20)
    rollups.catch_up(tenant)
    assert counted() == recount(tenant)


def test_folding_keeps_every_count(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(some(300, since=timedelta(days=30)))
    relay(tenant)
    before, hours = counted(), len(counted_hours())
    monkeypatch.setattr(rollups, "HOURS_KEPT", 10)
    rollups.fold()
    assert counted() == before == recount(tenant)
    assert 0 < len(counted_hours()) < hours
    assert counted_hours() == recount_hours(tenant, since=rollups.hours_since())
    rollups.fold()
    assert counted() == before


def test_what_leaves_the_log_leaves_the_counts(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "PORTION", 70)
    ingest(some(300, since=timedelta(days=30)))
    relay(tenant)
    monkeypatch.setattr(rollups, "HOURS_KEPT", 10)  # some of the hours are gone by now
    rollups.fold()
    rollups.leave(tenant, 200)
    rollups.leave(tenant, 200)
    log.mongo.events().delete_many({"tenant": tenant.id, "seq": {"$lte": 200}})
    rollups.fold()
    assert +counted() == recount(tenant)
    assert rollups.is_complete(first=1, last=300)
    assert not Rollup.objects.filter(events=0).exists()
    rollups.leave(tenant, 10_000)
    rollups.fold()
    assert +counted() == {}


def test_counting_costs_a_relay_one_statement(tenant: TenantRef, django_assert_num_queries: Any) -> None:
    ingest(some(10))
    relay(tenant)
    ingest([sent(number) for number in range(1000, 1010)])
    rows = list(OutboxEvent.objects.order_by("id"))
    for seq, row in enumerate(rows, start=11):
        row.seq = seq
    with django_assert_num_queries(1):
        rollups.count(rows)


def test_relays_and_recounts_at_once_count_each_event_once(
    lasting_tenant: LastingTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "PORTION", 10)
    ref = lasting_tenant()
    with context.use_tenant(ref):
        ingest(some(150))
        relay(ref)
        forget_counts()
    done = threading.Event()
    errors: list[BaseException] = []

    def keep_up() -> None:
        try:
            with context.use_tenant(ref):
                while not done.is_set():
                    rollups.catch_up(ref)
                    rollups.fold()
        except BaseException as error:  # for the main thread to raise
            errors.append(error)

    threads = [threading.Thread(target=keep_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    with context.use_tenant(ref):
        for turn in range(10):
            ingest([sent(number) for number in range(1000 + turn * 10, 1010 + turn * 10)])
            relay(ref)
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    with context.use_tenant(ref):
        rollups.catch_up(ref)
        assert counted() == recount(ref)
        assert sum(counted().values()) == 2 * LogHead.objects.get().appended == 500


def test_a_transaction_that_fails_counts_nothing(tenant: TenantRef) -> None:
    ingest(some(5))
    rows = list(OutboxEvent.objects.order_by("id"))
    for seq, row in enumerate(rows, start=1):
        row.seq = seq
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        rollups.count(rows)
        raise ZeroDivisionError
    assert counted() == {}
    assert not RollupHead.objects.exists()
