"""What other threads tell an async pool: that an endpoint must be left, that a route is a former one, that its budget has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenants.db.aio.pool import AsyncServerPool
from tenants.db.books import PoolLimits
from tenants.errors import PoolTimeout
from tests.tenants.async_pools import AsyncDatabaseRoute, in_a_loop, settled
from tests.tenants.test_pool import backends

MakePool = Callable[..., AsyncServerPool]
Observer = psycopg.Connection[Any]


@in_a_loop
async def test_a_cut_ends_idle_connections_and_queries_that_run(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=3)
    waits, idles, between = [await pool.getconn(AsyncDatabaseRoute(name, "async-cut")) for name in databases[:3]]
    pool.putconn(idles)
    query = asyncio.create_task(waits.execute("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    assert await asyncio.to_thread(pool.cut) == 3
    with pytest.raises(psycopg.OperationalError):
        await query
    with pytest.raises(psycopg.OperationalError):
        await between.execute("SELECT 1")
    assert time.monotonic() - started < 5
    pool.putconn(waits)
    pool.putconn(between)
    await settled(pool)
    assert pool.get_stats()["pool_size"] == 0
    # The control of the cut: the pool itself goes on, and its next connection works.
    async with pool.connection(AsyncDatabaseRoute(databases[0], "async-cut")) as connection:
        await connection.execute("SELECT 1")
    observer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'")


@in_a_loop
async def test_a_cut_counts_what_is_gone_by_the_time_it_answers(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=2)
    lent, idle = [await pool.getconn(AsyncDatabaseRoute(name)) for name in databases[:2]]
    pool.putconn(idle)
    assert pool.cut() == 2
    pool.putconn(lent)
    await settled(pool)


@in_a_loop
async def test_a_connection_that_was_cut_while_its_borrower_did_something_else_goes_to_nobody(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    lent = await pool.getconn(route)
    waiting = asyncio.create_task(pool.getconn(route))
    await asyncio.sleep(0)
    pool.cut()
    pool.putconn(lent)
    assert await waiting is not lent
    pool.putconn(await waiting)


@in_a_loop
async def test_a_former_route_keeps_no_connection(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=4)
    former, other = (AsyncDatabaseRoute(name, "async-former") for name in databases[:2])
    lent, idle, others = await pool.getconn(former), await pool.getconn(former), await pool.getconn(other)
    pool.putconn(idle)
    pool.putconn(others)
    assert pool.owners() == {former.owner, other.owner}
    await asyncio.to_thread(pool.retire, lambda owner: owner == former.owner)
    await settled(pool)
    assert (idle.closed, lent.closed, others.closed) == (True, False, False)
    await lent.execute("SELECT 1")  # its borrower finishes its work
    pool.putconn(lent)
    await settled(pool)
    assert pool.owners() == {other.owner}
    assert backends(observer, "async-former") == 1


@in_a_loop
async def test_what_is_opened_for_a_route_that_became_a_former_one_meanwhile_is_lent_once(
    make_pool: MakePool, databases: list[str]
) -> None:
    formers: set[str] = set()
    pool = make_pool(max_size=2)
    pool._is_former = formers.__contains__
    borrowing = asyncio.create_task(pool.getconn(AsyncDatabaseRoute(databases[0], delay=0.2)))
    await asyncio.sleep(0.05)
    formers.add(databases[0])
    pool.retire(formers.__contains__)
    pool.putconn(await borrowing)
    await settled(pool)
    assert pool.get_stats()["pool_size"] == 0


@in_a_loop
async def test_a_smaller_budget_closes_idle_ones_at_once_and_lent_ones_when_they_come_back(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool = make_pool(max_size=4)
    lent = [await pool.getconn(AsyncDatabaseRoute(name)) for name in databases[:4]]
    pool.putconn(lent.pop())
    await asyncio.to_thread(pool.resize, 2)
    await settled(pool)
    assert (pool.get_stats()["pool_size"], pool.get_stats()["pool_max"]) == (3, 2)
    pool.putconn(lent.pop())
    await settled(pool)
    assert (pool.get_stats()["pool_size"], pool.get_stats()["pool_available"]) == (2, 0)
    with pytest.raises(PoolTimeout, match="the server's budget leaves 2 to this process"):
        await pool.getconn(AsyncDatabaseRoute(databases[5]), timeout=0.1)
    pool.putconn(lent.pop())
    await settled(pool)
    assert pool.get_stats()["pool_available"] == 1


@in_a_loop
async def test_a_larger_budget_serves_who_waits_and_a_shortage_is_told(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool = make_pool(max_size=4)
    told: list[int] = []
    pool.on_shortage = lambda: told.append(pool.wanted)
    pool.resize(0)
    waiting = [asyncio.create_task(pool.getconn(AsyncDatabaseRoute(name))) for name in databases[:2]]
    await asyncio.sleep(0.05)
    assert (told, pool.wanted) == ([1, 2], 2)
    await asyncio.to_thread(pool.resize, 2)
    for connection in await asyncio.gather(*waiting):
        pool.putconn(connection)


def test_who_tells_a_pool_whose_loop_has_ended_is_told_nothing() -> None:
    async def make() -> AsyncServerPool:
        return AsyncServerPool("ended", PoolLimits())

    pool = asyncio.run(make())
    pool.resize(1)
    pool.shrink()
    pool.retire(lambda owner: True)
    assert pool.cut() == 0
