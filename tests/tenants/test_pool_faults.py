"""The pool when the network or the server fails: cut, delayed and black-holed by a proxy between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tenants.db import connection as connection_module
from tenants.db.books import Place, Share
from tenants.db.connection import Connection
from tenants.db.pool import ServerPool
from tests.proxy import Proxy
from tests.tenants.conftest import DatabaseRoute, primary_url

MakePool = Callable[..., ServerPool]
MakeRoute = Callable[[int], DatabaseRoute]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(primary_url()) as running:
        yield running


@pytest.fixture
def route(proxy: Proxy, databases: list[str]) -> MakeRoute:
    return lambda number: DatabaseRoute(databases[number], "faults", proxy.url)


def fill(pool: ServerPool, routes: list[DatabaseRoute]) -> list[Connection]:
    """Have the pool hold an idle connection for each route."""
    lent = [pool.getconn(each) for each in routes]
    for connection in lent:
        pool.putconn(connection)
    return lent


def ask(pool: ServerPool, route: DatabaseRoute) -> object:
    connection = pool.getconn(route)
    try:
        return connection.execute("SELECT 1").fetchone()
    finally:
        pool.putconn(connection)


# --- Cut ---------------------------------------------------------------------------------------------------------------


def test_after_a_cut_no_borrower_gets_a_dead_connection(make_pool: MakePool, proxy: Proxy, route: MakeRoute) -> None:
    pool = make_pool(max_size=5)
    fill(pool, [route(number) for number in range(5)])
    proxy.cut()
    time.sleep(0.05)
    assert [ask(pool, route(number)) for number in range(5)] == [(1,)] * 5
    assert pool.get_stats()["connections_lost"] == 1  # the first one: the others weren't asked


def test_control_without_the_look_at_the_socket_a_borrower_fails(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "is_alive", lambda self, idle_for: True)
    pool = make_pool(max_size=5)
    fill(pool, [route(0)])
    proxy.cut()
    time.sleep(0.05)
    with pytest.raises(psycopg.OperationalError):
        ask(pool, route(0))


def test_a_connection_cut_while_lent_takes_the_idle_ones_with_it(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute
) -> None:
    pool = make_pool(max_size=3)
    fill(pool, [route(1), route(2)])
    held = pool.getconn(route(0))
    proxy.cut()
    with pytest.raises(psycopg.OperationalError):
        held.execute("SELECT 1")
    pool.putconn(held)
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["pool_available"], stats["returns_bad"]) == (0, 0, 1)


# --- Black hole --------------------------------------------------------------------------------------------------------


def test_a_server_that_swallows_is_found_before_the_borrower_asks(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CHECK_AFTER_IDLE", -1.0)
    monkeypatch.setattr(connection_module, "ANSWER_TIMEOUT", 0.2)
    pool = make_pool(max_size=3)
    old = fill(pool, [route(0), route(1)])
    proxy.swallow()
    threading.Timer(0.5, proxy.release).start()
    assert ask(pool, route(0)) == (1,)
    assert old[0].closed
    assert old[1].closed


def test_control_without_the_question_the_borrower_waits_for_the_black_hole(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute
) -> None:
    pool = make_pool(max_size=3)
    old = fill(pool, [route(0)])
    proxy.swallow()
    connection = pool.getconn(route(0))
    assert connection is old[0]
    asked = threading.Thread(target=lambda: connection.execute("SELECT 1"))
    asked.start()
    asked.join(0.7)
    assert asked.is_alive()
    proxy.release()
    asked.join()
    pool.putconn(connection)


@pytest.mark.parametrize("statement", ["BEGIN", "SET lock_timeout = '1s'"])
def test_a_return_to_a_hung_server_ends_in_time(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(connection_module, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr("tenants.db.closing.CLOSE_TIMEOUT", 0.2)
    pool = make_pool(max_size=1)
    connection = pool.getconn(route(0))
    connection.execute(statement)
    proxy.swallow()
    returned = threading.Thread(target=pool.putconn, args=[connection])
    returned.start()
    returned.join(5.0)
    assert not returned.is_alive()
    assert pool.get_stats()["pool_size"] == 0


def test_a_connect_into_a_black_hole_fails_and_holds_nobody_else_up(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute
) -> None:
    pool = make_pool(max_size=2)
    fill(pool, [route(1)])
    proxy.hold_connects()
    errors: list[BaseException] = []

    def connect() -> None:
        try:
            pool.getconn(route(0))
        except psycopg.OperationalError as error:
            errors.append(error)

    stuck = threading.Thread(target=connect)
    stuck.start()
    while pool.running == 0:
        time.sleep(0.005)
    assert [ask(pool, route(1)) for _ in range(20)] == [(1,)] * 20
    assert stuck.is_alive()
    stuck.join(10.0)
    assert len(errors) == 1
    assert "timeout" in str(errors[0])
    assert pool.get_stats()["pool_size"] == 1


# --- Opening for the line ------------------------------------------------------------------------------------------------


def spike(pool: ServerPool, route: DatabaseRoute, threads: int = 50) -> list[Connection]:
    """So many threads at once, each with a query of 2 ms; the connections that served them."""
    start = threading.Barrier(threads)
    served: list[Connection] = []

    def work() -> None:
        start.wait()
        connection = pool.getconn(route)
        connection.execute("SELECT pg_sleep(0.002)")
        served.append(connection)
        pool.putconn(connection)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20.0)
    return served


def five_idle(pool: ServerPool, route: DatabaseRoute) -> list[Connection]:
    lent = [pool.getconn(route) for _ in range(5)]
    for connection in lent:
        pool.putconn(connection)
    assert pool.get_stats()["pool_available"] == 5
    return lent


LIMITS = {"max_size": 50, "max_per_tenant": 50, "max_waiting_per_tenant": 50, "timeout": 10.0}


def test_the_spike_ends_with_at_most_ten_connections(make_pool: MakePool, proxy: Proxy, route: MakeRoute) -> None:
    """HikariCP's: 5 idle, 50 threads at once, a connect takes 150 ms, a query 2 ms."""
    pool = make_pool(**LIMITS)
    five_idle(pool, route(0))
    proxy.connect_delay = 0.15
    assert len(spike(pool, route(0))) == 50
    assert pool.get_stats()["pool_size"] <= 10


def test_nobody_in_a_spike_waits_for_a_connect_that_it_does_not_need(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute
) -> None:
    pool = make_pool(**LIMITS)
    idle = five_idle(pool, route(0))
    proxy.hold_connects()  # no connect ends before all threads are served
    served = spike(pool, route(0))
    assert len(served) == 50
    assert set(served) <= set(idle)
    assert pool.get_stats()["pool_size"] <= 7  # and no more were begun than half of those that were there
    proxy.release()


def test_control_a_pool_whose_waiters_open_for_themselves_makes_them_wait_for_it(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = ServerPool._take

    def take_or_open(self: ServerPool, share: Share) -> Connection | Place | None:
        outcome = take(self, share)
        if outcome is None and (outcome := self._book_place(share)) is not None:
            share.lent += 1
        return outcome

    monkeypatch.setattr(ServerPool, "_take", take_or_open)
    pool = make_pool(**LIMITS)
    idle = five_idle(pool, route(0))
    proxy.connect_delay = 0.5
    served = spike(pool, route(0))
    assert not set(served) <= set(idle)
    assert pool.get_stats()["pool_size"] > 10


def test_who_waits_is_told_when_nothing_can_be_opened(make_pool: MakePool, proxy: Proxy, route: MakeRoute) -> None:
    pool = make_pool(max_size=4, max_waiting_per_tenant=4)
    held = pool.getconn(route(0))
    proxy.refuse_connects()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        pool.getconn(route(0))
    pool.putconn(held)
    assert ask(pool, route(0)) == (1,)
    assert pool.get_stats()["pool_size"] == 1


def test_what_is_opened_for_somebody_who_left_is_kept_for_the_next(
    make_pool: MakePool, proxy: Proxy, route: MakeRoute
) -> None:
    pool = make_pool(max_size=4)
    held = pool.getconn(route(0))
    proxy.connect_delay = 0.3
    with pytest.raises(psycopg.OperationalError, match="came free"):
        pool.getconn(route(0), timeout=0.05)
    while pool.get_stats()["pool_available"] == 0:
        time.sleep(0.01)
    assert pool.getconn(route(0)) is not held
    assert pool.get_stats()["connections_num"] == 2
