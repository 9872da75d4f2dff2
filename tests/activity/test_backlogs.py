"""What waits in the outboxes is measured, told to metrics and `/ready`, raises alarms, and in the end refuses events from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker
from structlog.testing import capture_logs

from accounts.models import User
from activity import backlog, backlogs, outbox, room, services, sweep, tasks
from activity.errors import OutboxFull
from activity.models import OutboxEvent
from activity.relay import relay
from tenants import context, valkey
from tenants.refs import CONTROL, TenantRef
from tests.accounts.conftest import ApiOf, api, fresh_limits, owner, quick_passwords  # noqa: F401  fixtures
from tests.activity.conftest import LastingTenant, report
from tests.activity.test_api import EVENT, batch
from tests.activity.test_ingest import sent
from tests.system import wait_for


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(backlogs, "WAITS", 0.0)
    room._until.clear()
    yield
    room._until.clear()
    valkey.redis_client().delete(backlogs._KEY)


@pytest.fixture
def waiting(lasting_tenant: LastingTenant, monkeypatch: pytest.MonkeyPatch) -> TenantRef:
    """A tenant in whose outbox 300 events wait; the look is at it alone."""
    ref = lasting_tenant()
    with context.use_tenant(ref), transaction.atomic():
        outbox.record_all([report(number) for number in range(300)])
    monkeypatch.setattr(backlogs, "unclean", lambda: [sweep.Unclean(ref.id, 300)])
    return ref


def look() -> backlogs.Look:
    with context.use_control():
        return backlogs.watch()


def told(name: str) -> dict[tuple[str, ...], float]:
    """The samples of that name, as `/metrics` has them."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in backlogs.families()
        for sample in family.samples
        if sample.name == name
    }


def test_what_waits_is_told_by_tenant_until_it_is_relayed(
    waiting: TenantRef, django_db_blocker: DjangoDbBlocker
) -> None:
    (found,) = look().backlogs
    assert (found.owner, found.server, found.pending) == (waiting.slug, waiting.server, 300)
    assert found.oldest_seconds >= 0
    assert found.bytes > 50_000
    assert told("tenantry_outbox_pending") == {(waiting.slug,): 300.0}
    assert told("tenantry_outbox_oldest_seconds")[waiting.slug,] >= 0
    with context.use_tenant(waiting):
        relay(waiting)
    look()
    assert told("tenantry_outbox_pending") == {}


def test_what_is_on_its_way_is_no_backlog(waiting: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "WAITS", 60.0)
    assert look().backlogs == []


def test_beyond_ten_thousand_it_is_an_estimate(waiting: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "COUNTED", 100)
    assert look().backlogs[0].pending == 300


def test_a_look_is_at_few_and_at_those_with_most(
    monkeypatch: pytest.MonkeyPatch, tenants: dict[str, TenantRef]
) -> None:
    monkeypatch.setattr(backlogs, "LOOKED_AT", 1)
    rows = {"acme": 5, "globex": 500}
    monkeypatch.setattr(backlogs, "unclean", lambda: [sweep.Unclean(tenants[slug].id, rows[slug]) for slug in rows])
    assert [ref.slug for ref in backlogs._to_look_at(backlogs.Look())] == ["globex"]


def test_alarms_begin_and_end_with_a_line_and_degrade_the_report(waiting: TenantRef, settings: Any) -> None:
    settings.OUTBOX_ALARM_MB = settings.OUTBOX_SERVER_FULL_MB = 0
    settings.OUTBOX_SERVER_ALARM_MB = 0
    with capture_logs() as lines:
        found = look()
        look()  # says nothing again
    assert found.alarms == {f"tenant {waiting.slug}": "alarm", f"server {waiting.server}": "full"}
    begun = [line for line in lines if line["event"] == "outbox_alarm"]
    assert sorted((line["owner"], line["level"]) for line in begun) == sorted(found.alarms.items())
    assert all(line["bytes"] > 0 for line in begun)
    answer = asyncio.run(backlogs.probe())
    assert answer["state"] == "degraded"
    assert answer["worst"][0]["owner"] == waiting.slug
    assert told("tenantry_outbox_alarm") == {("tenant", waiting.slug): 1.0, ("server", waiting.server): 2.0}
    settings.OUTBOX_ALARM_MB, settings.OUTBOX_SERVER_FULL_MB, settings.OUTBOX_SERVER_ALARM_MB = 256, 16384, 4096
    with capture_logs() as lines:
        assert look().alarms == {}
    assert len([line for line in lines if line["event"] == "outbox_alarm_over"]) == 2
    assert "state" not in asyncio.run(backlogs.probe())


def test_a_full_outbox_takes_nothing_in_from_outside_and_all_that_people_do(
    acme: TenantRef, api: ApiOf, owner: User, settings: Any  # noqa: F811
) -> None:  # fmt: skip
    client = api(owner)
    settings.OUTBOX_FULL_MB = 0
    for path, body in (("/activity", EVENT), ("/activity/batch", batch(3))):
        refused = client.post(path, body)
        assert refused.status_code == 503
        assert refused["Retry-After"] == "30"
        assert refused["Content-Type"] == "application/problem+json"
    with context.use_tenant(acme):
        before = OutboxEvent.objects.count()
    assert client.post("/members", {"email": "new@acme.example"}).status_code == 201
    with context.use_tenant(acme):
        assert OutboxEvent.objects.count() == before + 1
    settings.OUTBOX_FULL_MB = 1024
    assert client.post("/activity", EVENT).status_code == 201


def test_a_full_server_refuses_too_and_its_neighbours_do_not(acme: TenantRef, globex: TenantRef) -> None:
    with context.use_tenant(acme):
        services.events_ingest([sent(1)])
        backlogs._keep(backlogs.Look(alarms={"server elsewhere": "full"}))
        room._until.clear()
        services.events_ingest([sent(2)])
        backlogs._keep(backlogs.Look(alarms={f"server {acme.server}": "full"}))
        services.events_ingest([sent(3)])  # what was found a moment ago still counts
        room._until.clear()
        with pytest.raises(OutboxFull):
            services.events_ingest([sent(4)])
        assert OutboxEvent.objects.count() == 3


def vacuums() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'activity_outboxevent'")
        return int(cursor.fetchone()[0])


def test_the_disk_is_given_back_after_a_backlog(waiting: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a VACUUM, which gives it back as soon as no replica reads any more what was deleted: some looks later, if need be."""
    with context.use_tenant(waiting):
        OutboxEvent.objects.all().delete()
        look()
        assert vacuums() == 0  # it isn't worth it
        monkeypatch.setattr(backlog, "WORTH_A_VACUUM", 1)
        look()
        wait_for(lambda: vacuums() == 1, what="the VACUUM")


def test_a_tenant_that_is_gone_is_left_out(waiting: TenantRef) -> None:
    backlogs._keep(backlogs.Look([backlog.Backlog("nobody-of-this-name", "local", 1, 9.0, 10)]))
    assert [each.owner for each in look().backlogs] == [waiting.slug]


def test_control_is_looked_at_as_well(tenants: dict[str, TenantRef], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "unclean", lambda: [sweep.Unclean(CONTROL.id, 1)])
    with context.use_control(), transaction.atomic():
        outbox.record(report(1))
        tasks.watch.run()
    (found,) = (backlogs.last_look() or backlogs.Look()).backlogs
    assert found.owner == "control"
