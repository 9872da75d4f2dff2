"""Whatever a borrower of the async pool was doing when it was cut off, the next one finds a clean session, and nothing is lost.

1,000 cuts run as a scenario, 150 in the ordinary suite. tests/operations/test_cut_requests.py does the same over HTTP.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenants.db.aio import pool as pool_module
from tenants.db.aio.connection import Connection
from tenants.db.aio.pool import AsyncServerPool
from tests.tenants.async_pools import AsyncDatabaseRoute, in_a_loop, settled

MakePool = Callable[..., AsyncServerPool]
Observer = psycopg.Connection[Any]


async def query(connection: Connection, chosen: random.Random) -> None:
    await connection.execute(f"SELECT pg_sleep({chosen.random() / 30})")


async def transaction(connection: Connection, chosen: random.Random) -> None:
    await connection.execute("BEGIN")
    await connection.execute(f"CREATE TABLE never (id int); SELECT pg_sleep({chosen.random() / 30})")
    await connection.execute("ROLLBACK")


async def copy(connection: Connection, chosen: random.Random) -> None:
    async with connection.cursor().copy("COPY (SELECT generate_series(1, 100000)) TO STDOUT") as rows:
        async for _ in rows:
            await asyncio.sleep(0)


async def large(connection: Connection, chosen: random.Random) -> None:
    cursor = await connection.execute("SELECT repeat('x', %s)", [chosen.randrange(1, 4_000_000)])
    await cursor.fetchall()


WORK = (query, transaction, copy, large)


async def cut_at_random(pool: AsyncServerPool, names: list[str], cuts: int, seed: int) -> list[str]:
    """Cut `cuts` borrowers, of several tenants, at random moments, while others ask and compare. Returns what those saw that was wrong."""
    chosen = random.Random(seed)
    wrong: list[str] = []

    async def work(name: str) -> None:
        connection = await pool.getconn(AsyncDatabaseRoute(name, "cut"))
        try:
            await chosen.choice(WORK)(connection, chosen)
        finally:
            pool.putconn(connection)

    async def check(number: int, name: str) -> None:
        try:
            async with pool.connection(AsyncDatabaseRoute(name, "cut")) as connection:
                cursor = await connection.execute("SELECT %s::int, current_database(), to_regclass('never')", [number])
                if (row := await cursor.fetchone()) != (number, name, None):
                    wrong.append(f"{row} in the place of {number}")
        except psycopg.Error as error:
            wrong.append(f"{type(error).__name__}: {error}")

    for number in range(0, cuts, 10):
        tasks = [asyncio.create_task(work(chosen.choice(names))) for _ in range(10)]
        checks = [asyncio.create_task(check(number, chosen.choice(names))) for _ in range(5)]
        for task in tasks:
            await asyncio.sleep(chosen.random() / 500)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*checks)
    return wrong


async def cuts_leave_nothing(pool: AsyncServerPool, names: list[str], server: Observer, cuts: int) -> None:
    print("seed 4711")
    assert await cut_at_random(pool, names, cuts, seed=4711) == []
    await settled(pool)
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["requests_waiting"]) == (stats["pool_available"], 0)
    assert pool._running == {}
    assert pool._on_the_way.is_empty
    own = "SELECT state FROM pg_stat_activity WHERE application_name = 'cut' AND datname = ANY(%s)"
    states = server.execute(own, [names]).fetchall()
    assert states == [("idle",)] * stats["pool_size"]
    print(f"{cuts} cuts: {stats['connections_num']} connections opened, {stats['returns_bad']} closed as unclean")


@in_a_loop
async def test_after_150_cuts_no_session_is_dirty_and_no_connection_lost(
    make_pool: MakePool,
    databases: list[str],
    observer: Observer,
) -> None:
    await cuts_leave_nothing(make_pool(max_size=8), databases[:3], observer, 150)


@pytest.mark.scenario
@in_a_loop
async def test_after_1000_cuts_no_session_is_dirty_and_no_connection_lost(
    make_pool: MakePool,
    databases: list[str],
    observer: Observer,
) -> None:
    await cuts_leave_nothing(make_pool(max_size=8), databases[:3], observer, 1_000)


@in_a_loop
async def test_control_without_cleaning_the_next_borrower_suffers(
    make_pool: MakePool,
    databases: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "is_clean", lambda connection: not connection.closed)
    assert await cut_at_random(make_pool(max_size=8), databases[:3], 50, seed=4711)
