"""ServerPool on a real server: who gets which connection, who waits, and how many the server ever sees."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenants.db import pool as pool_module
from tenants.db.openers import MAX_OPENERS
from tenants.db.pool import ServerPool
from tenants.errors import PoolClosed, PoolTimeout, TooManyRequests
from tests.tenants.conftest import DatabaseRoute, primary_url

MakePool = Callable[..., ServerPool]
Observer = psycopg.Connection[Any]


def backends(observer: Observer, application_name: str = "pool-test") -> int:
    """Of this process's own databases: another one may run the same test meanwhile."""
    own = f"pool_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_"
    row = observer.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname ^@ %s", [application_name, own]
    ).fetchone()
    assert row is not None
    return int(row[0])


def pid(connection: psycopg.Connection[Any]) -> int:
    return connection.info.backend_pid


def test_a_borrower_gets_the_connection_its_tenant_used_last(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=4), DatabaseRoute(databases[0])
    first, second = pool.getconn(route), pool.getconn(route)
    pool.putconn(first)
    pool.putconn(second)
    assert pool.getconn(route) is second
    assert pool.get_stats()["connections_num"] == 2


def test_a_connection_is_never_lent_to_another_tenant(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=2)
    for name in databases[:5] * 2:
        connection = pool.getconn(DatabaseRoute(name))
        assert connection.info.dbname == name
        pool.putconn(connection)


def test_the_least_recently_used_idle_connection_is_the_one_that_is_stolen(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool = make_pool(max_size=3)
    routes = [DatabaseRoute(name) for name in databases[:4]]
    lent = [pool.getconn(route) for route in routes[:3]]
    for connection in lent:
        pool.putconn(connection)
    pool.putconn(pool.getconn(routes[0]))  # now the second one is the oldest
    pool.putconn(pool.getconn(routes[3]))
    assert lent[1].closed
    assert not lent[0].closed
    assert not lent[2].closed
    assert pool.get_stats()["connections_stolen"] == 1


# Samples in the server, which sees more in a second than a client can ask; ends when the lock is free.
SAMPLE_SQL = """
    DO $$
    DECLARE most int := 0; seen int;
    BEGIN
        WHILE NOT pg_try_advisory_xact_lock(7001) LOOP
            PERFORM pg_stat_clear_snapshot();
            SELECT count(*) INTO seen FROM pg_stat_activity WHERE application_name = '{name}';
            most := greatest(most, seen);
        END LOOP;
        PERFORM set_config('test.most', most::text, false);
    END $$
"""


def test_sixty_tenants_and_eight_threads_never_exceed_a_budget_of_ten(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=10)
    errors: list[Exception] = []

    def work(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(40):
            name = choose.choice(databases)
            try:
                connection = pool.getconn(DatabaseRoute(name, "budget-of-ten"))
                assert connection.execute("SELECT current_database()").fetchone() == (name,)
                pool.putconn(connection)
            except Exception as error:
                errors.append(error)

    with psycopg.connect(primary_url(), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(7001)")
        sampler = threading.Thread(target=lambda: observer.execute(SAMPLE_SQL.format(name="budget-of-ten")))
        sampler.start()
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        before = threading.active_count()
        for thread in threads:
            thread.start()
        # No thread for a tenant or a connection, but the few that open for the line.
        assert threading.active_count() <= before + 8 + MAX_OPENERS
        for thread in threads:
            thread.join()
    sampler.join()
    most = observer.execute("SELECT current_setting('test.most')::int").fetchone()
    assert errors == []
    assert most == (10,)
    assert pool.get_stats()["connections_stolen"] > 100


def steal_from_a_stopped_backend(pool: ServerPool, databases: list[str], observer: Observer, name: str) -> int:
    """Have the pool steal a connection whose backend ends late, and count the backends just before it is gone."""
    victim = pool.getconn(DatabaseRoute(databases[0], name))
    stopped = pid(victim)
    pool.putconn(victim)
    os.kill(stopped, signal.SIGSTOP)
    thief = threading.Thread(target=lambda: pool.putconn(pool.getconn(DatabaseRoute(databases[1], name))))
    thief.start()
    time.sleep(0.7)
    seen = backends(observer, name)
    os.kill(stopped, signal.SIGCONT)
    thief.join()
    return seen


def test_a_stolen_connection_counts_until_its_backend_is_gone(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    assert steal_from_a_stopped_backend(make_pool(max_size=1), databases, observer, "stolen") == 1


def test_control_without_waiting_for_the_backend_the_server_has_one_too_many(
    make_pool: MakePool, databases: list[str], observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_without_waiting(connections: Any) -> None:
        for connection in connections:
            connection.close()

    monkeypatch.setattr(pool_module, "close_and_wait", close_without_waiting)
    assert steal_from_a_stopped_backend(make_pool(max_size=1), databases, observer, "control") == 2


def test_who_waits_gets_the_next_connection_in_order(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=1, timeout=5.0)
    held = pool.getconn(DatabaseRoute(databases[0]))
    order: list[int] = []

    def borrow(number: int) -> None:
        connection = pool.getconn(DatabaseRoute(databases[number]))
        order.append(number)
        pool.putconn(connection)

    threads = []
    for number in (1, 2, 3):
        threads.append(threading.Thread(target=borrow, args=(number,)))
        threads[-1].start()
        while pool.get_stats()["requests_waiting"] < number:
            time.sleep(0.005)
    pool.putconn(held)
    for thread in threads:
        thread.join()
    assert order == [1, 2, 3]


def test_waiting_ends_with_a_sentence_that_names_pool_and_time(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=1, timeout=0.2)
    pool.getconn(DatabaseRoute(databases[0]))
    with pytest.raises(PoolTimeout, match=r"no connection of pool 'test' came free for .* in \d\.\d\d s") as error:
        pool.getconn(DatabaseRoute(databases[1]))
    assert float(str(error.value).split()[-2]) >= 0.2
    assert pool.get_stats()["requests_waiting"] == 0


def test_a_tenant_at_its_cap_waits_a_little_and_is_then_refused_at_once(
    make_pool: MakePool, databases: list[str]
) -> None:
    pool = make_pool(max_size=4, max_per_tenant=2, max_waiting_per_tenant=1, tenant_timeout=0.5)
    greedy, other = DatabaseRoute(databases[0]), DatabaseRoute(databases[1])
    pool.getconn(greedy)
    pool.getconn(greedy)
    refused: list[Exception] = []

    def wait() -> None:
        try:
            pool.getconn(greedy)
        except PoolTimeout as error:
            refused.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while not pool.get_stats()["requests_waiting"]:
        time.sleep(0.005)
    started = time.monotonic()
    with pytest.raises(TooManyRequests):
        pool.getconn(greedy)
    assert time.monotonic() - started < 0.1
    pool.putconn(pool.getconn(other))  # the line skips the tenant at its cap
    waiter.join()
    assert len(refused) == 1


def test_a_full_line_refuses_at_once(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=1, max_waiting=0)
    pool.getconn(DatabaseRoute(databases[0]))
    with pytest.raises(TooManyRequests, match="already has 0 requests waiting"):
        pool.getconn(DatabaseRoute(databases[1]))


def test_an_open_transaction_is_rolled_back_on_return(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=1), DatabaseRoute(databases[0])
    connection = pool.getconn(route)
    connection.autocommit = False
    connection.execute("CREATE TABLE left_open (id int)")
    pool.putconn(connection)
    again = pool.getconn(route)
    assert again is connection
    assert again.autocommit
    assert again.execute("SELECT to_regclass('left_open')").fetchone() == (None,)


def test_a_connection_with_an_unread_result_is_dropped(make_pool: MakePool, databases: list[str]) -> None:
    pool, route = make_pool(max_size=1), DatabaseRoute(databases[0])
    connection = pool.getconn(route)
    connection.pgconn.send_query(b"SELECT pg_sleep(10)")
    pool.putconn(connection)
    assert pool.getconn(route) is not connection
    assert pool.get_stats()["returns_bad"] == 1


def test_after_the_first_dead_connection_all_idle_ones_are_dropped(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=5)
    routes = [DatabaseRoute(name) for name in databases[:5]]
    lent = [pool.getconn(route) for route in routes]
    for connection in lent:
        pool.putconn(connection)
    for connection in lent:
        observer.execute("SELECT pg_terminate_backend(%s)", [pid(connection)])
    time.sleep(0.1)
    connection = pool.getconn(routes[0])
    assert connection.execute("SELECT 1").fetchone() == (1,)
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["pool_available"], stats["connections_lost"]) == (1, 0, 1)


def test_a_connection_that_cannot_be_opened_gives_its_place_back(make_pool: MakePool) -> None:
    pool = make_pool(max_size=1)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            pool.getconn(DatabaseRoute("no_such_database"))
    assert pool.get_stats()["pool_size"] == 0


def test_a_closed_pool_drains_refuses_and_leaves_no_backend(
    make_pool: MakePool, databases: list[str], observer: Observer
) -> None:
    pool = make_pool(max_size=3)
    routes = [DatabaseRoute(name, "drained") for name in databases[:3]]
    lent = [pool.getconn(route) for route in routes]
    pool.putconn(lent[0])
    threading.Timer(0.3, lambda: [pool.putconn(connection) for connection in lent[1:]]).start()
    pool.close(timeout=5.0)
    assert backends(observer, "drained") == 0
    with pytest.raises(PoolClosed):
        pool.getconn(routes[0])


def test_idle_connections_end_after_their_time(make_pool: MakePool, databases: list[str]) -> None:
    pool = make_pool(max_size=2, max_idle=0.1)
    pool.putconn(pool.getconn(DatabaseRoute(databases[0])))
    assert pool.shrink() == 0
    time.sleep(0.15)
    assert pool.shrink() == 1
    assert pool.get_stats()["pool_size"] == 0


def test_the_counters_have_psycopg_pools_names(make_pool: MakePool) -> None:
    from psycopg_pool import ConnectionPool

    with ConnectionPool(primary_url(), min_size=1, open=True) as peer:
        peer.wait()
        peer.getconn()
        theirs = set(peer.get_stats())
    assert theirs <= set(make_pool().get_stats())
