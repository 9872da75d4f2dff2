"""How often an event loop waits for Postgres, counted on the wire: once for each query, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType

from accounts.models import User
from accounts.native_routes import ROUTES
from accounts.services.tokens import token_create
from tenants.context import use_tenant
from tenants.db import aio, roles
from tenants.db.aio import pools, route
from tenants.native import Message, Scope
from tenants.refs import TenantRef
from tests.tenants.async_pools import settled


class Wire:
    """A TCP proxy in this loop that counts turns: a client that speaks after its server did has waited for it."""

    def __init__(self, host: str, port: int) -> None:
        self.server = host, port
        self.turns = 0
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        listener = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            listener.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self.server)
        spoke_last = "server"

        async def copy(who: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            nonlocal spoke_last
            while data := await source.read(1 << 16):
                if who == "client" and spoke_last == "server":
                    self.turns += 1
                spoke_last = who
                target.write(data)
                await target.drain()
            target.close()

        await asyncio.gather(copy("client", reader, server_writer), copy("server", server_reader, writer))


@pytest.fixture
def on_the_wire(
    committed_tenant: TenantRef, settings: Any, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> Callable[[Callable[[Wire], Awaitable[None]]], None]:
    """Run a coroutine in the tenant, whose connections lead through a Wire that is given to it."""
    settings.TENANTRY_PROCESS = "stream"

    def run(work: Callable[[Wire], Awaitable[None]]) -> None:
        async def whole() -> None:
            server = await route.server_known(committed_tenant.server)
            wire = Wire(server.primary.host, server.primary.port)
            async with wire.listening():
                proxied = replace(server, primary=replace(server.primary, host="127.0.0.1", port=wire.port))

                async def through_the_wire(name: str) -> Any:
                    return proxied

                monkeypatch.setattr(route, "server_known", through_the_wire)
                monkeypatch.setattr(roles, "primary_of", lambda server, configured: configured)
                with use_tenant(committed_tenant):
                    await aio.fetch(ContentType.objects.all()[:1])  # the connection is open from here on
                    wire.turns = 0
                    await work(wire)
                await aio.close_all()

        with django_db_blocker.unblock():
            asyncio.run(asyncio.wait_for(whole(), 30))

    return run


def test_a_query_waits_once(on_the_wire: Any) -> None:
    async def work(wire: Wire) -> None:
        for _ in range(10):
            await aio.fetch(ContentType.objects.order_by("pk"))
        assert wire.turns == 10

    on_the_wire(work)


def test_nothing_is_asked_for_what_can_have_no_rows(on_the_wire: Any) -> None:
    async def work(wire: Wire) -> None:
        assert await aio.fetch(ContentType.objects.filter(pk__in=[])) == []
        assert wire.turns == 0

    on_the_wire(work)


def test_a_download_waits_once_with_its_transaction_and_its_time_limit(on_the_wire: Any) -> None:
    async def work(wire: Wire) -> None:
        async for _ in aio.copy("COPY (SELECT generate_series(1, 50000)) TO STDOUT"):
            pass
        assert wire.turns == 1

    on_the_wire(work)


def test_a_statement_of_ones_own_waits_once(on_the_wire: Any) -> None:
    async def work(wire: Wire) -> None:
        await aio.execute("UPDATE django_content_type SET model = model WHERE id < %s", [0])
        (pool,) = pools.all_pools()
        await settled(pool)
        assert wire.turns == 1

    on_the_wire(work)


def test_a_session_in_which_something_may_be_left_is_reset_after_that(on_the_wire: Any) -> None:
    """The control of the test above: the reset would show."""

    async def work(wire: Wire) -> None:
        await aio.execute("SELECT set_config('search_path', 'nowhere', false)")
        assert wire.turns == 1
        (pool,) = pools.all_pools()
        await settled(pool)
        assert wire.turns == 2

    on_the_wire(work)


def test_control_a_session_that_is_set_up_by_statements_waits_for_each(on_the_wire: Any) -> None:
    async def work(wire: Wire) -> None:
        async with aio.transaction():
            await aio.execute("SET LOCAL statement_timeout = 1000")
            await aio.fetch(ContentType.objects.all()[:1])
        assert wire.turns == 4  # BEGIN, SET, the query, COMMIT

    on_the_wire(work)


def test_a_request_of_the_api_waits_for_its_token_and_for_its_list(
    on_the_wire: Any, committed_tenant: TenantRef, django_db_blocker: Any
) -> None:
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        user = User.objects.create(email="wire@acme.example", role="owner")
        _, secret = token_create(user=user, name="wire", scopes=["read"])
    application = next(each.application for each in ROUTES if each.path == "/api/v1/members")
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def request() -> None:
        from tenants.native.receiver import Receiver

        headers = [(b"host", b"acme.localhost"), (b"authorization", f"Bearer {secret}".encode())]
        scope: Scope = {"type": "http", "method": "GET", "query_string": b"limit=5", "headers": headers, "state": {}}
        receiver = Receiver(receive)
        await application(scope, receiver, send)
        receiver.close()

    async def work(wire: Wire) -> None:
        await request()  # the token's first use is noted: that is one more
        wire.turns = 0
        for _ in range(10):
            await request()
        assert wire.turns == 20
        assert [message["status"] for message in sent if "status" in message] == [200] * 11

    try:
        on_the_wire(work)
    finally:
        with django_db_blocker.unblock(), use_tenant(committed_tenant):
            User.objects.filter(email="wire@acme.example").delete()
