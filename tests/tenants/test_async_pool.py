"""AsyncServerPool on a real server: who gets which connection, who waits, and how many the server ever sees."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from tenants.db.aio import connection as connection_module
from tenants.db.aio import pool as pool_module
from tenants.db.aio.pool import AsyncServerPool
from tenants.errors import PoolClosed, PoolTimeout, TooManyRequests
from tests.tenants.async_pools import AsyncDatabaseRoute, in_a_loop, pid, settled
from tests.tenants.conftest import primary_url
from tests.tenants.test_pool import SAMPLE_SQL, backends

MakePool = Callable[..., AsyncServerPool]
Observer = psycopg.Connection[Any]


@in_a_loop
async def test_a_borrower_gets_the_connection_its_tenant_used_last(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=4), AsyncDatabaseRoute(databases[0])
    first, second = await pool.getconn(route), await pool.getconn(route)
    pool.putconn(first)
    pool.putconn(second)
    assert await pool.getconn(route) is second
    assert pool.get_stats()["connections_num"] == 2


@in_a_loop
async def test_a_connection_is_never_lent_to_another_tenant(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=2)
    for name in databases[:5] * 2:
        async with pool.connection(AsyncDatabaseRoute(name)) as connection:
            assert connection.info.dbname == name


@in_a_loop
async def test_the_least_recently_used_idle_connection_is_the_one_that_is_stolen(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool = make_pool(max_size=3)
    routes = [AsyncDatabaseRoute(name) for name in databases[:4]]
    lent = [await pool.getconn(route) for route in routes[:3]]
    for connection in lent:
        pool.putconn(connection)
    pool.putconn(await pool.getconn(routes[0]))  # now the second one is the oldest
    pool.putconn(await pool.getconn(routes[3]))
    assert [connection.closed for connection in lent] == [False, True, False]
    assert pool.get_stats()["connections_stolen"] == 1


@in_a_loop
async def test_sixty_tenants_and_forty_borrowers_never_exceed_a_budget_of_ten(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=10, max_waiting=100)
    threads = threading.active_count()

    async def work(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(8):
            name = choose.choice(databases)
            async with pool.connection(AsyncDatabaseRoute(name, "async-budget")) as connection:
                found = await (await connection.execute("SELECT current_database()")).fetchone()
                assert found == (name,)
                assert threading.active_count() == threads + 1  # the sampler's, and none for a tenant or a connection

    with psycopg.connect(primary_url(), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(7001)")
        sampler = threading.Thread(target=lambda: observer.execute(SAMPLE_SQL.format(name="async-budget")))
        sampler.start()
        await asyncio.gather(*(work(seed) for seed in range(40)))
    await asyncio.to_thread(sampler.join)
    assert observer.execute("SELECT current_setting('test.most')::int").fetchone() == (10,)
    assert pool.get_stats()["connections_stolen"] > 100


async def steal_from_a_stopped_backend(
    pool: AsyncServerPool, databases: list[str], observer: Observer, name: str
) -> int:
    """Have the pool steal a connection whose backend ends late, and count the backends just before it is gone."""
    victim = await pool.getconn(AsyncDatabaseRoute(databases[0], name))
    stopped = pid(victim)
    pool.putconn(victim)
    os.kill(stopped, signal.SIGSTOP)
    thief = asyncio.create_task(pool.getconn(AsyncDatabaseRoute(databases[1], name)))
    await asyncio.sleep(0.7)
    seen = backends(observer, name)
    os.kill(stopped, signal.SIGCONT)
    pool.putconn(await thief)
    return seen


@in_a_loop
async def test_a_stolen_connection_counts_until_its_backend_is_gone(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    assert await steal_from_a_stopped_backend(make_pool(max_size=1), databases, observer, "async-stolen") == 1


@in_a_loop
async def test_control_without_waiting_for_the_backend_the_server_has_one_too_many(
    make_pool: MakePool, databases: list[str], observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close_without_waiting(connections: Iterable[Any]) -> None:
        for connection in connections:
            await connection.close()

    monkeypatch.setattr(pool_module, "close_and_wait", close_without_waiting)
    assert await steal_from_a_stopped_backend(make_pool(max_size=1), databases, observer, "async-control") == 2


@in_a_loop
async def test_who_waits_gets_the_next_connection_in_order(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=1, timeout=5.0)
    held = await pool.getconn(AsyncDatabaseRoute(databases[0]))
    order: list[int] = []

    async def borrow(number: int) -> None:
        async with pool.connection(AsyncDatabaseRoute(databases[number])):
            order.append(number)

    waiting = [asyncio.create_task(borrow(number)) for number in (3, 1, 2)]
    await asyncio.sleep(0)
    pool.putconn(held)
    await asyncio.gather(*waiting)
    assert order == [3, 1, 2]


@in_a_loop
async def test_waiting_ends_with_a_sentence_that_names_pool_and_time(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=1, timeout=0.2)
    await pool.getconn(AsyncDatabaseRoute(databases[0]))
    with pytest.raises(PoolTimeout, match=r"no connection of pool 'test' came free for .* in 0\.2\d s"):
        await pool.getconn(AsyncDatabaseRoute(databases[1]))
    assert pool.get_stats()["requests_waiting"] == 0


@in_a_loop
async def test_a_tenant_at_its_cap_waits_a_little_is_then_refused_at_once_and_holds_up_nobody(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool = make_pool(max_size=4, max_per_tenant=2, max_waiting_per_tenant=1, tenant_timeout=0.5)
    greedy, other = AsyncDatabaseRoute(databases[0]), AsyncDatabaseRoute(databases[1])
    await pool.getconn(greedy)
    await pool.getconn(greedy)
    waiter = asyncio.create_task(pool.getconn(greedy))
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await pool.getconn(greedy)
    assert not waiter.done()
    pool.putconn(await pool.getconn(other))  # the line skips the tenant at its cap
    with pytest.raises(PoolTimeout):
        await waiter


@in_a_loop
async def test_a_full_line_refuses_at_once(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=1, max_waiting=0)
    await pool.getconn(AsyncDatabaseRoute(databases[0]))
    with pytest.raises(TooManyRequests, match="already has 0 requests waiting"):
        await pool.getconn(AsyncDatabaseRoute(databases[1]))


@in_a_loop
async def test_an_open_transaction_is_rolled_back_on_return(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    await connection.execute("BEGIN; CREATE TABLE left_open (id int)")
    pool.putconn(connection)
    again = await pool.getconn(route)
    assert again is connection
    assert await (await again.execute("SELECT to_regclass('left_open')")).fetchone() == (None,)


@in_a_loop
async def test_a_query_that_was_cut_off_is_cancelled_at_the_server_and_its_connection_serves_on(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connection.execute("SELECT pg_sleep(60)")
    pool.putconn(connection)
    again = await pool.getconn(route)  # it would wait for 60 s for the only place
    assert again is connection
    for number in range(20):  # no late cancel hits the next one's queries
        assert await (await again.execute(f"SELECT {number}, pg_sleep(0.01)")).fetchone() == (number, "")
    assert pool.get_stats()["returns_bad"] == 0


@in_a_loop
async def test_a_connection_that_cannot_be_cleaned_in_time_is_closed(
    make_pool: MakePool, databases: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "CLEAN_TIMEOUT", 0.2)
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    connection.pgconn.send_query(b"SELECT pg_sleep(60)")
    connection.pgconn.flush()
    stopped = pid(connection)
    os.kill(stopped, signal.SIGSTOP)
    pool.putconn(connection)
    waiting = asyncio.create_task(pool.getconn(route))
    await asyncio.sleep(0.4)
    os.kill(stopped, signal.SIGCONT)
    assert await waiting is not connection
    assert pool.get_stats()["returns_bad"] == 1


@in_a_loop
async def test_nothing_of_a_session_is_left_after_a_return(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    for statement in (
        "SET search_path = nowhere",
        "SET ROLE pg_monitor",
        "CREATE TEMPORARY TABLE left_behind (id int)",
        "SELECT pg_advisory_lock(4711)",
        "LISTEN somebody",
        "PREPARE left_behind AS SELECT 1",
    ):
        await connection.execute(statement)
    pool.putconn(connection)
    again = await pool.getconn(route)
    assert again is connection
    cursor = await again.execute(
        "SELECT current_setting('search_path'), current_user = session_user, to_regclass('left_behind'),"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),"
        " (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements)"
    )
    assert await cursor.fetchone() == ('"$user", public', True, None, 0, 0, 0)


@in_a_loop
async def test_what_a_borrower_told_the_connection_itself_is_forgotten(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    await connection.set_autocommit(False)
    await connection.set_read_only(True)
    connection.add_notify_handler(lambda notify: None)
    await connection.execute("SET search_path = nowhere")
    await connection.commit()
    pool.putconn(connection)
    again = await pool.getconn(route)
    assert again is connection
    assert (again.autocommit, again.read_only, again._notify_handlers) == (True, None, [])
    assert await (await again.execute("SHOW search_path")).fetchone() == ('"$user", public',)


@in_a_loop
async def test_a_statement_that_leaves_nothing_costs_no_reset(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    await connection.execute("SELECT count(*) FROM pg_class WHERE relname = %s", ["nothing"])
    assert not connection.touched
    cursor = psycopg.AsyncCursor(connection)  # one that vouches for nothing, by the same statement
    await cursor.execute("SELECT count(*) FROM pg_class WHERE relname = %s", ["nothing"])
    assert connection.touched
    pool.putconn(connection)
    assert await pool.getconn(route) is connection
    assert not connection.touched


@in_a_loop
async def test_who_comes_while_a_session_is_reset_waits_for_it_and_opens_no_other(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool, route = make_pool(max_size=4), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    for _ in range(5):
        await connection.execute("SET search_path = nowhere")
        pool.putconn(connection)
        assert await pool.getconn(route) is connection
    await connection.execute("SET search_path = nowhere")
    pool.putconn(connection)
    observer.execute("SELECT pg_terminate_backend(%s)", [pid(connection)])
    pool.putconn(await pool.getconn(route))  # when it can't be reset, another one comes in its place
    assert pool.get_stats()["connections_num"] == 2


@in_a_loop
async def test_after_the_first_dead_connection_all_idle_ones_are_dropped(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=5)
    routes = [AsyncDatabaseRoute(name) for name in databases[:5]]
    lent = [await pool.getconn(route) for route in routes]
    for connection in lent:
        pool.putconn(connection)
    for connection in lent:
        observer.execute("SELECT pg_terminate_backend(%s)", [pid(connection)])
    await asyncio.sleep(0.1)
    connection = await pool.getconn(routes[0])
    assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    await settled(pool)
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["pool_available"], stats["connections_lost"]) == (1, 0, 1)


@in_a_loop
async def test_a_connection_that_was_idle_for_long_is_asked_first(
    make_pool: MakePool, databases: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "CHECK_AFTER_IDLE", 0.0)
    monkeypatch.setattr(connection_module, "CHECK_TIMEOUT", 0.2)
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    connection = await pool.getconn(route)
    pool.putconn(connection)
    assert await pool.getconn(route) is connection
    pool.putconn(connection)
    stopped = pid(connection)
    os.kill(stopped, signal.SIGSTOP)  # as behind a network that swallows packets: the socket looks well
    waiting = asyncio.create_task(pool.getconn(route))
    await asyncio.sleep(0.5)
    os.kill(stopped, signal.SIGCONT)
    assert await waiting is not connection


@in_a_loop
async def test_a_connection_that_cannot_be_opened_gives_its_place_back(make_pool: MakePool) -> None:
    pool = make_pool(max_size=1)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            await pool.getconn(AsyncDatabaseRoute("no_such_database"))
    assert pool.get_stats()["pool_size"] == 0


@in_a_loop
async def test_who_waits_for_an_opening_takes_a_connection_that_comes_back_earlier(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool, route = make_pool(max_size=4), AsyncDatabaseRoute(databases[0])
    held = await pool.getconn(route)
    waiting = asyncio.create_task(pool.getconn(AsyncDatabaseRoute(databases[0], delay=0.5)))
    await asyncio.sleep(0)
    pool.putconn(held)
    started = time.monotonic()
    assert await waiting is held
    assert time.monotonic() - started < 0.4
    await settled(pool)
    assert pool.get_stats()["pool_available"] == 1  # the new one, for who comes next


@in_a_loop
async def test_what_was_opened_for_somebody_who_left_serves_the_next(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=4)
    route = AsyncDatabaseRoute(databases[0], delay=0.2)
    for _ in range(3):
        leaving = asyncio.create_task(pool.getconn(route))
        await asyncio.sleep(0.01)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    pool.putconn(await pool.getconn(route))
    stats = pool.get_stats()
    assert (stats["connections_num"], stats["pool_size"], stats["pool_available"]) == (1, 1, 1)
    assert pool._running == {}


@in_a_loop
async def test_a_borrower_that_is_cancelled_as_it_gets_its_connection_loses_none(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool, route = make_pool(max_size=1), AsyncDatabaseRoute(databases[0])
    held = await pool.getconn(route)
    waiting = asyncio.create_task(pool.getconn(route))
    await asyncio.sleep(0)
    pool.putconn(held)  # the waiter has it now, and has not run since
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.get_stats()["pool_available"] == 1
    assert pool._running == {}


@in_a_loop
async def test_a_connection_that_comes_back_is_not_given_to_one_that_was_cancelled(
    make_pool: MakePool, databases: list[str]
) -> None:
    """Who is cancelled learns of it when the loop comes to it, and something may be returned before that."""
    pool = make_pool(max_size=2, max_per_tenant=2)
    route, slow = AsyncDatabaseRoute(databases[0]), AsyncDatabaseRoute(databases[0], delay=0.3)
    held = await pool.getconn(route)
    opening, next_one = asyncio.create_task(pool.getconn(slow)), asyncio.create_task(pool.getconn(slow))
    await asyncio.sleep(0)
    opening.cancel()
    pool.putconn(held)
    assert await next_one is held
    waiting = asyncio.create_task(pool.getconn(AsyncDatabaseRoute(databases[1])))
    other = await pool.getconn(route)  # what was opened
    await asyncio.sleep(0)
    waiting.cancel()
    pool.putconn(held)
    pool.putconn(other)
    await asyncio.gather(opening, waiting, return_exceptions=True)
    await settled(pool)
    assert pool._running == {}
    assert pool._on_the_way.is_empty
    assert pool.get_stats()["pool_available"] == 2


@in_a_loop
async def test_a_closed_pool_drains_refuses_and_leaves_no_backend(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=3)
    routes = [AsyncDatabaseRoute(name, "async-drained") for name in databases[:4]]
    lent = [await pool.getconn(route) for route in routes[:3]]
    pool.putconn(lent[0])
    waiting = asyncio.create_task(pool.getconn(routes[1]))
    await asyncio.sleep(0)
    pool.putconn(await waiting)
    late = asyncio.create_task(pool.getconn(routes[3]))
    await asyncio.sleep(0)
    for connection in lent[1:]:
        asyncio.get_running_loop().call_later(0.3, pool.putconn, connection)
    await pool.close(timeout=5.0)
    assert backends(observer, "async-drained") == 0
    with pytest.raises(PoolClosed):
        await late
    with pytest.raises(PoolClosed):
        await pool.getconn(routes[0])


@in_a_loop
async def test_idle_connections_end_after_their_time(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=2, max_idle=0.1)
    pool.putconn(await pool.getconn(AsyncDatabaseRoute(databases[0])))
    pool.shrink()
    await settled(pool)
    assert pool.get_stats()["pool_available"] == 1
    await asyncio.sleep(0.15)
    pool.shrink()
    await settled(pool)
    assert pool.get_stats()["pool_size"] == 0


@in_a_loop
async def test_a_connection_ends_after_its_lifetime(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=1, max_lifetime=0.1), AsyncDatabaseRoute(databases[0])
    first = await pool.getconn(route)
    await asyncio.sleep(0.15)
    pool.putconn(first)
    assert await pool.getconn(route) is not first


@in_a_loop
async def test_the_counters_have_psycopg_pools_names(make_pool: MakePool) -> None:
    with ConnectionPool(primary_url(), min_size=1, open=True) as peer:
        peer.wait()
        with peer.connection():
            theirs = set(peer.get_stats())
    assert theirs <= set(make_pool().get_stats())
