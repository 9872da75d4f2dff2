"""What is measured is what is there, however often it is measured, and one tenant that can't be is in nobody's way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError, connection
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Now

from accounts.models import User
from activity.models import Rollup
from activity.usage import measuring, meters, selectors
from activity.usage.meters import meter
from tenants import reads, usage
from tenants.context import use_control, use_tenant
from tenants.models import Tenant, UsageDay, UsageWriter
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant
from tests.usage.conftest import day_of, used_storage

HOUR = timedelta(hours=1)


@pytest.fixture
def own_meter() -> Iterator[Any]:
    """Meters that a test registers go with it."""
    before = dict(meters._meters)
    yield meter
    meters._meters.clear()
    meters._meters.update(before)


def measure() -> int:
    with use_control():
        return measuring.measure_due(60.0)


def make_due(by: timedelta = 2 * HOUR) -> None:
    """As if the last visits had been so long ago."""
    with use_control():
        UsageDay.objects.filter(visited_at__isnull=False).update(visited_at=F("visited_at") - by)


def add_events(ref: TenantRef, moment: datetime, events: int, series: int = Rollup.Series.ACTION_HOURS) -> None:
    with use_tenant(ref):
        Rollup.objects.create(series=series, start=moment, name=f"note.{events}", events=events)


def test_members_events_and_storage_are_those_of_each_tenant(acme: TenantRef, globex: TenantRef) -> None:
    midnight = datetime.combine(usage.today(), datetime.min.time(), UTC)
    with use_tenant(acme):
        for name in ("ann", "bob", "cy"):
            User.objects.create_user(f"{name}@example.com", None)
        before = used_storage()
        default_storage.save("jobs/a/large", ContentFile(b"x" * 1_000_000))
    add_events(acme, midnight, 5)
    add_events(acme, midnight + 3 * HOUR, 2)
    add_events(acme, midnight, 4, Rollup.Series.ACTION_DAYS)  # hours that were folded
    add_events(acme, midnight, 11, Rollup.Series.ACTOR_DAYS)  # the same events by actor
    add_events(acme, midnight - HOUR, 100)
    add_events(acme, midnight + 24 * HOUR, 1000)
    assert measure() >= 2
    row, other = day_of(acme), day_of(globex)
    assert row is not None
    assert other is not None
    assert (row.members, row.events, other.members, other.events) == (3, 11, 0, 0)
    assert row.storage_bytes is not None
    assert other.storage_bytes is not None
    assert other.storage_bytes > 5_000_000
    assert row.storage_bytes >= before + 1_000_000
    assert row.measured_at is not None


def test_measuring_again_overwrites_with_the_truth(acme: TenantRef) -> None:
    with use_tenant(acme):
        user = User.objects.create_user("ann@example.com", None)
    measure()
    make_due()
    measure()
    row = day_of(acme)
    assert row is not None
    assert row.members == 1
    with use_tenant(acme):
        user.delete()
    usage.count(acme, requests=3)
    usage.flush()
    make_due()
    measure()
    row = day_of(acme)
    assert row is not None
    assert (row.members, row.requests) == (0, 3)


def test_nobody_is_visited_again_within_the_hour(acme: TenantRef) -> None:
    assert measure() >= 2
    assert measure() == 0
    make_due(timedelta(minutes=59))
    assert measure() == 0
    make_due(timedelta(minutes=2))
    assert measure() >= 2


def test_whoever_waits_longest_comes_first(acme: TenantRef, globex: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    measure()
    make_due()
    with use_control():
        UsageDay.objects.filter(tenant_id=globex.id).update(visited_at=Now() - Value(5 * HOUR))
        monkeypatch.setattr(measuring, "AT_ONCE", 1)
        assert measuring._claim() == [globex.id]


def test_a_suspended_tenant_keeps_its_numbers_and_is_left_alone(acme: TenantRef) -> None:
    measure()
    with use_control():
        Tenant.objects.filter(pk=acme.id).update(state="suspended")
    make_due()
    measured_before = day_of(acme)
    measure()
    row = day_of(acme)
    assert row is not None
    assert measured_before is not None
    assert row.visited_at == measured_before.visited_at
    assert row.members == 0


def test_a_meter_that_takes_too_long_keeps_its_former_number(
    acme: TenantRef, own_meter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0

    @own_meter("sheep", title="Sheep")
    def sheep(cursor: Any, day: Any) -> int:
        cursor.execute("SELECT 7 FROM pg_sleep(%s)", [seconds])
        return int(cursor.fetchone()[0])

    measure()
    row = day_of(acme)
    assert row is not None
    assert row.others == {"sheep": 7}
    seconds = 30.0
    monkeypatch.setattr(measuring, "STATEMENT_SECONDS", 0.2)
    with use_tenant(acme):
        User.objects.create_user("ann@example.com", None)
    make_due()
    started = time.monotonic()
    measure()
    assert time.monotonic() - started < 15
    row = day_of(acme)
    assert row is not None
    assert (row.others, row.members) == ({"sheep": 7}, 1)


def test_a_tenant_that_cannot_be_reached_is_in_nobodys_way(
    acme: TenantRef, globex: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = measuring._visit

    def fail_for_acme(ref: TenantRef) -> None:
        if ref.id == acme.id:
            raise OperationalError("away")
        visit(ref)

    monkeypatch.setattr(measuring, "_visit", fail_for_acme)
    measure()
    row, other = day_of(acme), day_of(globex)
    assert row is not None
    assert other is not None
    assert (row.measured_at, row.members) == (None, None)
    assert other.measured_at is not None


def test_late_events_of_yesterday_are_counted_to_it(acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    today = usage.today()
    midnight = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
    measure()
    row = day_of(acme)
    assert row is not None
    assert row.events == 0
    add_events(acme, midnight - HOUR, 6)
    with use_tenant(acme):
        User.objects.create_user("ann@example.com", None)
    monkeypatch.setattr(usage, "today", lambda: today + timedelta(days=1))
    measure()
    with use_control():
        found = list(UsageDay.objects.filter(tenant_id=acme.id).order_by("day").values_list("events", "members"))
    assert found == [(6, 0), (0, 1)]  # how many members there were yesterday isn't known better today


def test_events_of_a_day_on_which_nobody_measured_are_found_on_the_next(acme: TenantRef) -> None:
    yesterday = usage.today() - timedelta(days=1)
    add_events(acme, datetime.combine(yesterday, datetime.min.time(), UTC), 6)
    measure()
    with use_control():
        assert UsageDay.objects.get(tenant_id=acme.id, day=yesterday).events == 6


def test_what_retention_takes_out_of_the_log_has_been_all_the_same(acme: TenantRef) -> None:
    yesterday = usage.today() - timedelta(days=1)
    add_events(acme, datetime.combine(yesterday, datetime.min.time(), UTC), 6)
    measure()
    with use_tenant(acme):
        Rollup.objects.all().delete()
    make_due()
    measure()
    with use_control():
        assert UsageDay.objects.get(tenant_id=acme.id, day=yesterday).events == 6


def test_whoever_looks_has_it_measured_again_after_a_minute(tenant: TenantRef) -> None:
    assert measuring.measure_soon(tenant) is True
    assert measuring.measure_soon(tenant) is False
    make_due(timedelta(minutes=2))
    assert measuring.measure_soon(tenant) is True
    row = day_of(tenant)
    assert row is not None
    assert row.measured_at is not None


@pytest.mark.xdist_group("replica")
def test_it_reads_from_a_replica_where_one_may_serve(
    lasting_tenant: LastingTenant, own_meter: Any, replica: Any
) -> None:
    seen = []

    @own_meter("place", title="Place")
    def place(cursor: Any, day: Any) -> int:
        cursor.execute("SELECT pg_is_in_recovery()::int")
        seen.append(cursor.fetchone()[0])
        return int(seen[-1])

    ref = lasting_tenant()
    with use_tenant(ref), reads.reads_from_primary():
        reads.note_write()
        position = reads.read_after()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # until the replica has the new database
        with use_tenant(ref), reads.reads_from_replica(position):
            if reads.replica_alias(ref) is not None:
                break
        time.sleep(0.1)
    measuring._visit(ref)
    assert seen == [1]


def test_old_days_are_thrown_away_in_portions(acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "PRUNED_AT_ONCE", 3)
    today = usage.today()
    with use_control():
        UsageDay.objects.bulk_create(
            UsageDay(tenant_id=acme.id, day=today - timedelta(days=back)) for back in range(395, 411)
        )
        UsageWriter.objects.create(id="00000000-0000-7000-8000-000000000001", number=1, flushed_at="2020-01-01T00:00Z")
        assert measuring.prune() == 10
        left = list(
            UsageDay.objects.filter(tenant_id=acme.id, day__lt=today).order_by("day").values_list("day", flat=True)
        )
        assert left[0] == today - timedelta(days=400)
        assert len(left) == 6
        assert not UsageWriter.objects.filter(number=1, flushed_at__lt="2021-01-01T00:00Z").exists()


def test_a_meters_name_is_its_own(own_meter: Any) -> None:
    with pytest.raises(ValueError, match="already"):
        own_meter("members", title="Others")(lambda cursor, day: 1)
    with pytest.raises(ValueError, match="no name"):
        own_meter("Members!", title="Others")(lambda cursor, day: 1)


def test_a_meter_that_fails_in_its_own_way_costs_the_others_nothing(
    acme: TenantRef, globex: TenantRef, own_meter: Any
) -> None:
    @own_meter("sheep", title="Sheep")
    def sheep(cursor: Any, day: Any) -> int:
        cursor.execute("SELECT sum(number) FROM accounts_importedrow")
        return int(cursor.fetchone()[0])  # a sum of nothing is None

    measure()
    for ref in (acme, globex):
        row = day_of(ref)
        assert row is not None
        assert (row.members, row.others) == (0, {})
        assert row.measured_at is not None


def test_what_could_not_be_measured_is_not_said_to_be(acme: TenantRef) -> None:
    with use_tenant(acme), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_user RENAME TO elsewhere")
    measure()
    row = day_of(acme)
    assert row is not None
    assert (row.members, row.measured_at, row.storage_bytes is None) == (None, None, False)


def test_when_the_time_is_up_the_others_are_the_next_ones(acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[str] = []

    def slow(ref: TenantRef) -> None:
        visited.append(ref.id)
        time.sleep(0.3)

    monkeypatch.setattr(measuring, "_visit", slow)
    with use_control():
        assert measuring.measure_due(0.2) == 1
        left = UsageDay.objects.filter(visited_at=None, day=usage.today()).count()
        assert left == Tenant.objects.filter(state="active").count() - 1
        assert measuring.measure_due(60.0) == left
    assert len(set(visited)) == len(visited)


def test_metrics_are_told_while_control_is_away(acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    with use_control():
        assert [family.name for family in selectors.families()] == ["tenantry_usage_late_tenants"]
        monkeypatch.setattr(QuerySet, "count", away)
        assert list(selectors.families()) == []


def away(*_: Any) -> int:
    raise OperationalError("away")
