"""While MongoDB is away, what is recorded is safe and what is read says so."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from uuid import UUID

import orjson
import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django_mongodb_backend.base import DatabaseWrapper

from accounts.models import User
from activity import log, mongo, outbox, selectors, tasks
from activity.errors import LogUnavailable
from activity.models import KnownEvent, OutboxEvent
from activity.relay import relay
from activity.search import Query
from tenants import context
from tenants.db import breaker as breakers
from tenants.db.breaker import Breaker
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf, api, fresh_limits, owner, quick_passwords  # noqa: F401  fixtures
from tests.activity.conftest import logged, report
from tests.activity.test_api import EVENT, batch


class Away:
    """Points this process's client at a port where nobody listens, and back."""

    def __init__(self) -> None:
        self._settings = connections[mongo.ALIAS].settings_dict
        self._host = self._settings["HOST"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._nobody = f"mongodb://127.0.0.1:{free.getsockname()[1]}/nobody"

    def go(self) -> None:
        self._connect(self._nobody, 200)

    def come_back(self) -> None:
        self._connect(self._host, 2000)

    def _connect(self, host: str, timeout: int) -> None:
        wrapper = connections[mongo.ALIAS]
        if mongo.ALIAS in DatabaseWrapper._connection_pools:
            wrapper.ensure_connection()
            wrapper.close_pool()
        self._settings["HOST"] = host
        self._settings["OPTIONS"]["serverSelectionTimeoutMS"] = timeout
        mongo._breaker.succeeded()  # nobody knows anything of this server yet


@pytest.fixture
def away(tenants: dict[str, TenantRef]) -> Iterator[Away]:
    switch = Away()
    switch.go()
    yield switch
    switch.come_back()


def test_events_are_recorded_and_come_to_the_log_later(
    away: Away, acme: TenantRef, api: ApiOf, owner: User  # noqa: F811
) -> None:  # fmt: skip
    client = api(owner)
    assert client.post("/activity", EVENT).status_code == 201
    assert orjson.loads(client.post("/activity/batch", batch(10)).content) == {"accepted": 10, "duplicates": 0}
    assert orjson.loads(client.post("/activity/batch", batch(10)).content) == {"accepted": 0, "duplicates": 10}
    with context.use_tenant(acme):
        waiting = OutboxEvent.objects.count()
        with pytest.raises(LogUnavailable):
            relay(acme)
        assert OutboxEvent.objects.count() == waiting
        away.come_back()
        relay(acme)
        assert len(logged(acme)) == waiting


def test_ids_of_events_that_are_in_the_log_are_known_while_it_is_away(
    away: Away, acme: TenantRef, api: ApiOf, owner: User  # noqa: F811
) -> None:  # fmt: skip
    client = api(owner)
    away.come_back()
    client.post("/activity/batch", batch(10))
    with context.use_tenant(acme):
        relay(acme)
        assert not OutboxEvent.objects.filter(document__action="commit.pushed").exists()
    away.go()
    assert orjson.loads(client.post("/activity/batch", batch(12)).content) == {"accepted": 2, "duplicates": 10}
    # The control: without the ids that are kept, the same batch would be taken for new.
    with context.use_tenant(acme):
        OutboxEvent.objects.filter(document__action="commit.pushed").delete()
        KnownEvent.objects.all().delete()
    assert orjson.loads(client.post("/activity/batch", batch(12)).content) == {"accepted": 12, "duplicates": 0}


def test_the_api_says_that_the_log_is_away(away: Away, api: ApiOf, owner: User, acme: TenantRef) -> None:  # noqa: F811
    with context.use_tenant(acme):
        from activity.models import LogHead

        LogHead.objects.create(seq=5, appended=5)
    answer = api(owner).get("/activity")
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert answer["Content-Type"] == "application/problem+json"


def test_a_page_that_shows_other_things_too_goes_without(away: Away, tenant: TenantRef) -> None:
    from activity.models import LogHead

    LogHead.objects.create(seq=5, appended=5)
    assert selectors.latest(tenant) is None
    with pytest.raises(LogUnavailable):
        selectors.event_page(tenant, Query())


def test_the_sweep_waits(away: Away, tenants: dict[str, TenantRef]) -> None:
    assert not mongo.is_up()
    with context.use_control():
        tasks.sweep_all.run()


def waits(times: int) -> list[float]:
    """How long each of so many readers in a row waits to hear that the log is away."""
    found = []
    for _ in range(times):
        started = time.monotonic()
        with pytest.raises(LogUnavailable):
            log.get(context.current(), EVENT_ID)
        found.append(time.monotonic() - started)
    return found


EVENT_ID = UUID(int=7)


def test_nobody_waits_for_what_is_known_to_be_away(away: Away, tenant: TenantRef) -> None:
    first, *others = waits(20)
    assert first >= 0.2
    assert sorted(others)[-2] < 0.05  # one of them may have been the one whose turn it was to ask


def test_without_the_breaker_each_waits(away: Away, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(Breaker, "failed", lambda *_, **__: None)
    assert min(waits(3)) >= 0.2


def test_a_relay_asks_neither_database_while_the_log_is_away(
    away: Away, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.record(report(1))
    tasks.relay.run()
    with CaptureQueriesContext(connection) as queries:
        started = time.monotonic()
        for _ in range(50):
            tasks.relay.run()
    assert time.monotonic() - started < 2
    assert len(queries) <= 8  # of one whose turn it was, at most
    away.come_back()
    tasks.relay.run()
    assert not OutboxEvent.objects.exists()


def test_the_pause_between_two_questions_grows_and_ends_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(breakers, "time", SimpleNamespace(monotonic=lambda: now[0]))  # the clock of breakers alone
    breaker = Breaker("mongo", **mongo.BACK_OFF)
    breaker.failed(at_once=True)
    asked = []
    while now[0] < 160:
        now[0] += 0.05
        if breaker.may_try():
            asked.append(now[0])
            breaker.failed()
    pauses = [round(later - earlier, 1) for earlier, later in pairwise([100.0, *asked])]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0] or pauses[:4] == [0.5, 1.1, 2.0, 4.0]
    assert max(pauses) <= 5.1
    breaker.succeeded()
    assert breaker.may_try()
    assert breaker.may_try()
    breaker.failed(at_once=True)
    now[0] += 0.55
    assert breaker.may_try()  # after half a second, as at first


def test_one_broken_connection_is_no_absence(tenant: TenantRef) -> None:
    from pymongo.errors import AutoReconnect, ExecutionTimeout

    for error in (
        AutoReconnect("closed"),
        ExecutionTimeout("slow"),
        ExecutionTimeout("slow"),
        ExecutionTimeout("slow"),
    ):
        with pytest.raises(LogUnavailable), mongo.reachable():
            raise error
        assert not mongo._breaker.is_open
    with mongo.reachable():
        pass
    for _ in range(3):
        with pytest.raises(LogUnavailable), mongo.reachable():
            raise AutoReconnect("closed")
    assert mongo._breaker.is_open
    mongo._breaker.succeeded()


def test_a_log_that_is_written_in_the_request_fails_it(
    away: Away, api: ApiOf, owner: User, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    """The control of scenario 28, and then the same request with the outbox."""
    client = api(owner)
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "record", lambda event: log.get(context.current(), EVENT_ID))
        assert client.post("/members", {"email": "new@acme.example"}).status_code == 503
    assert client.post("/members", {"email": "new@acme.example"}).status_code == 201
