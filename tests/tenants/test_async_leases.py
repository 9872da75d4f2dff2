"""Both pools of a `stream` process hold leases: together with all others they stay within what the server has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenants.db import aio, keeper
from tenants.db.aio.pool import AsyncServerPool
from tenants.db.aio.pools import limits_of, pool_of
from tenants.db.books import PoolLimits
from tenants.db.pool import ServerPool
from tenants.db.pools import Endpoint
from tests.tenants.async_pools import AsyncDatabaseRoute
from tests.tenants.conftest import DatabaseRoute
from tests.tenants.test_keeper import control, leased, rows
from tests.tenants.test_pool import backends

__all__ = ["control", "leased"]  # fixtures

pytestmark = pytest.mark.usefixtures("django_db_setup")

CAPACITY = 4


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_sum_over_both_pools_stays_within_the_servers_limit(
    leased: Callable[..., ServerPool],
    settings: Any,
    databases: list[str],
    observer: psycopg.Connection[Any],
    is_kept: bool,
) -> None:
    """The control is an async pool that keeps no lease: it takes as much as it likes."""
    settings.POOL_RESERVE = 10
    port = 50 + is_kept
    django = leased(port, max_size=4)
    django.server_limit = CAPACITY + settings.POOL_RESERVE
    held = django.getconn(DatabaseRoute(databases[0], "both-pools"))
    seen: list[int] = []

    async def work() -> None:
        native = AsyncServerPool("leased async", PoolLimits(max_size=16, timeout=20.0))
        native.server_limit = django.server_limit
        if is_kept:
            keeper.keep(native, "keeper-test", port)

        async def use(name: str) -> None:
            async with native.connection(AsyncDatabaseRoute(name, "both-pools")):
                await asyncio.sleep(0.05)
                seen.append(backends(observer, "both-pools"))

        await asyncio.gather(*(use(name) for name in databases[1:13]))
        if is_kept:
            assert native.max_size + django.max_size <= CAPACITY
            assert len(rows(port)) == 2
            assert sum(size for size, _ in rows(port)) <= CAPACITY
        await native.close(5.0)

    try:
        asyncio.run(asyncio.wait_for(work(), 60))
    finally:
        django.putconn(held)
    assert len(seen) == 12
    assert (max(seen) <= CAPACITY) is is_kept


def test_the_pools_of_a_loop_are_leased_up_to_their_share(leased: Callable[..., ServerPool], settings: Any) -> None:
    settings.TENANTRY_PROCESS = "stream"
    endpoint = Endpoint("leased", "keeper-test", 60)

    async def work() -> None:
        native = pool_of(endpoint)
        async with asyncio.timeout(10):
            while not rows(60) or not native.max_size:
                await asyncio.sleep(0.01)
        assert native.max_size < native.limits.max_size == limits_of(endpoint).max_size == 16
        await aio.close_all(1.0)

    asyncio.run(work())
