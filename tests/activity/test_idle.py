"""An idle fleet costs a sweep a number of statements that doesn't depend on how many tenants there are, counted on the wire."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from activity import backlogs, sweep, tasks
from tenants import valkey
from tenants.context import use_control
from tenants.ids import new_id
from tenants.models import Server, Tenant
from tenants.servers import forget_servers
from tests.proxy import Proxy
from tests.system import wait_for

TENANTS = 10_000
COUNT = 7  # rows inserted into each of their databases, as Postgres would tell


class Idle:
    """A server reached through a proxy, on which so many tenants are registered. Postgres tells of their databases as of others."""

    def __init__(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proxy = proxy
        self.monkeypatch = monkeypatch
        self.server = Server(name="idle", is_open=False)
        self.server.url = proxy.url
        self.server.save()

    def register(self, count: int) -> None:
        """So many tenants, each known to be clean."""
        Tenant.objects.filter(server=self.server).delete()
        Tenant.objects.bulk_create(
            (
                Tenant(
                    id=new_id(), slug=f"idle-{number}", name="Idle", state=Tenant.State.ACTIVE, server=self.server,
                    database=f"idle_{number}", role="idle", encrypted_password=b"",
                )
                for number in range(count)
            ),
            batch_size=1000,
        )  # fmt: skip
        told = f"SELECT 'idle_' || n AS datname, {COUNT} AS tup_inserted FROM generate_series(0, {count - 1}) n"
        self.monkeypatch.setattr(sweep, "_COUNTS", told)
        valkey.redis_client().hset(sweep._key(), mapping={f"idle/idle_{number}": str(COUNT) for number in range(count)})

    def cost(self, run: Any) -> tuple[int, int]:
        """Statements to control, and pieces of data to the server, of which each statement and each step of a connect is one."""
        forget_servers()  # which is read again every two seconds, and here each time
        before = self.proxy.sent
        with CaptureQueriesContext(connections["control"]) as queries:
            run()
        wait_for(lambda: not self.proxy._pairs, what="the end of the connection to the server")
        return len(queries), self.proxy.sent - before


@pytest.fixture
def idle(django_db_setup: None, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Idle]:
    url = json.loads(os.environ["TENANT_SERVERS"])["local"]["primary"]
    with django_db_blocker.unblock(), Proxy(url) as proxy, use_control():
        monkeypatch.setattr(Server.objects, "all", lambda: list(Server.objects.filter(name="idle")))
        yield Idle(proxy, monkeypatch)
        # Nothing hangs on them, which Django's own way takes 17 s to find.
        Tenant.objects.filter(server_id="idle")._raw_delete("control")
        Server.objects.filter(name="idle").delete()
        forget_servers()
        valkey.redis_client().delete(sweep._key())
    backlogs.redis_client().delete(backlogs._KEY)


def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tenants for which relays are asked, control left out, which others may have written to."""
    found: list[str] = []

    def note(*, headers: dict[str, str], **_: Any) -> None:
        if headers["tenant"] != "control":
            found.append(headers["tenant"])

    monkeypatch.setattr(tasks.relay, "apply_async", note)
    return found


def test_ten_thousand_idle_tenants_cost_what_ten_do(idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
    relays = asked_for(monkeypatch)
    idle.register(10)
    idle.cost(tasks.sweep_all.run)  # whatever is done once
    few = idle.cost(tasks.sweep_all.run), idle.cost(tasks.watch.run)
    idle.register(TENANTS)
    many = idle.cost(tasks.sweep_all.run), idle.cost(tasks.watch.run)
    print(f"statements to control, messages to the server: 10 tenants {few}, {TENANTS:,} tenants {many}")
    assert many == few
    (to_control, to_server), _ = many
    assert to_control <= 4  # the count of control, the servers, and where this one is
    assert to_server <= 8  # a connect with its password, and one statement
    assert relays == []


def test_a_sweep_that_has_no_notes_asks_for_all(idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: it is the notes that make an idle tenant cost nothing."""
    relays = asked_for(monkeypatch)
    idle.register(50)
    valkey.redis_client().delete(sweep._key())
    tasks.sweep_all.run()
    assert len(relays) == 50
