"""A change of a tenant's route reaches the async pools of a loop in two seconds, pushed or pulled; a rotated password is found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from django.contrib.contenttypes.models import ContentType

from tenants import epochs
from tenants.context import use_tenant
from tenants.db import aio, pools
from tenants.db.aio import route
from tenants.db.aio.route import route_to
from tenants.db.breaker import breaker_of
from tenants.lifecycle.credentials import rotate_credentials
from tenants.refs import TenantRef
from tenants.valkey import redis_client
from tests.system import wait_for
from tests.tenants.async_pools import RunIn, run_in
from tests.tenants.test_epochs import BOUND, made, raise_epoch

__all__ = ["made", "run_in"]  # fixtures


def backends(observer: psycopg.Connection[Any], ref: TenantRef) -> int:
    """How many backends of async pools the tenant's database has."""
    row = observer.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name ^@ 'tenantry-stream'",
        [ref.database],
    ).fetchone()
    assert row is not None
    return int(row[0])


async def until_closed(observer: psycopg.Connection[Any], ref: TenantRef, seconds: float) -> None:
    await asyncio.to_thread(
        wait_for, lambda: backends(observer, ref) == 0, timeout=seconds, interval=0.01, what="the end of the backend"
    )


async def ask() -> int:
    return len(await aio.fetch(ContentType.objects.all()[:1]))


def push(ref: TenantRef) -> None:
    redis_client().publish(epochs.CHANNEL, f"{ref.id}:{ref.epoch + 1}")


CHANGES: dict[str, Callable[[TenantRef], Any]] = {
    "pushed": push,
    "pulled": lambda ref: raise_epoch(ref, publish=False),
    "told here": lambda ref: pools.forget_former(ref.id, ref.epoch + 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_idle_connections_of_a_loop_are_closed(made: Any, observer: Any, run_in: RunIn, change: str) -> None:
    ref = made()

    async def work() -> None:
        epochs.listen()
        await ask()
        assert backends(observer, ref) == 1
        assert ref.alias in pools.owners()
        await asyncio.sleep(0.6)  # the listener has subscribed
        await asyncio.to_thread(CHANGES[change], ref)
        began = time.monotonic()
        await until_closed(observer, ref, BOUND + 1)
        print(f"{change}: {time.monotonic() - began:.2f} s")

    run_in(ref, work)


def test_control_of_pools_that_take_no_part_the_connection_stays(
    made: Any, observer: Any, run_in: RunIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = made()
    monkeypatch.setattr(pools, "_others", [])

    async def work() -> int:
        epochs.listen()
        await ask()
        await asyncio.to_thread(raise_epoch, ref, publish=True)
        await asyncio.sleep(BOUND + 1)
        return backends(observer, ref)

    assert run_in(ref, work) == 1


def test_a_lent_connection_is_closed_when_it_comes_back_and_none_of_the_former_epoch_is_kept(
    made: Any, observer: Any, run_in: RunIn
) -> None:
    ref = made()

    async def work() -> None:
        async with aio.transaction():
            await ask()
            await asyncio.to_thread(pools.forget_former, ref.id, ref.epoch + 1)
            await ask()  # it works on until then
            assert backends(observer, ref) == 1
        await until_closed(observer, ref, 2)
        await ask()  # opened late, by whoever still holds the former route
        await until_closed(observer, ref, 2)

    run_in(ref, work)


def test_who_still_has_the_former_password_asks_the_registry(
    made: Any, run_in: RunIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = made()

    async def work() -> None:
        await ask()
        now = await asyncio.to_thread(rotate_credentials, ref)
        assert now.password != ref.password
        assert await ask() == 1
        # The control: without asking, the former password is refused.
        monkeypatch.setattr(route, "password_renewal", lambda ref: lambda: None)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await ask()

    run_in(ref, work)


def test_a_refused_password_opens_no_breaker(made: Any, run_in: RunIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has answered, however often it refuses: nobody else is kept from it."""
    ref = made()
    monkeypatch.setattr(route, "password_renewal", lambda ref: lambda: None)

    async def work() -> None:
        for _ in range(5):
            with (
                use_tenant(replace(ref, epoch=ref.epoch + 1, password="wrong")),
                pytest.raises(psycopg.OperationalError),
            ):
                await ask()
        assert not breaker_of((await route_to(ref.alias)).endpoint).is_open
        assert await ask() == 1

    run_in(ref, work)
