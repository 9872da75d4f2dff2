"""While MongoDB is away, what is recorded is safe and what is read says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import orjson
import pytest
from django.db import connections
from django_mongodb_backend.base import DatabaseWrapper

from accounts.models import User
from activity import mongo, selectors, tasks
from activity.errors import LogUnavailable
from activity.models import KnownEvent, OutboxEvent
from activity.relay import relay
from activity.search import Query
from tenants import context
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf, api, fresh_limits, owner, quick_passwords  # noqa: F401  fixtures
from tests.activity.conftest import logged
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
