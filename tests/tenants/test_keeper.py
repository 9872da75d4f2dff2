"""The leases of this process: taken, renewed, let lapse and given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from tenants.db import budget, keeper
from tenants.db.books import PoolLimits
from tenants.db.pool import ServerPool
from tests.proxy import Proxy
from tests.tenants.conftest import DatabaseRoute, primary_url

pytestmark = pytest.mark.usefixtures("django_db_setup")


def until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.01)


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Control by way of a proxy, for those who keep leases."""
    with Proxy(primary_url()) as proxy:
        there = {**settings.DATABASES["control"], "HOST": "127.0.0.1", "PORT": str(proxy.port)}
        monkeypatch.setattr("tenants.servers.control_parameters", lambda: there)
        yield proxy


@pytest.fixture
def leased(
    control: Proxy, settings: Any, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[..., ServerPool]]:
    settings.POOL_LEASES = True
    monkeypatch.setattr(budget, "RENEW_INTERVAL", 0.2)
    pools: list[ServerPool] = []

    def make(port: int, **limits: Any) -> ServerPool:
        pools.append(ServerPool("leased", PoolLimits(**limits)))
        keeper.keep(pools[-1], "keeper-test", port)
        return pools[-1]

    yield make
    for pool in pools:
        pool.close(1.0)
    control.release()
    keeper.stop()
    keeper._start_empty_after_fork()


def rows(port: int) -> list[tuple[int, int]]:
    with psycopg.connect(primary_url(), dbname=settings.DATABASES["control"]["NAME"], autocommit=True) as connection:
        return connection.execute(
            "SELECT size, wanted FROM tenants_lease WHERE budget_id = %s", [f"keeper-test:{port}"]
        ).fetchall()


def test_a_pool_starts_with_nothing_and_soon_has_a_lease(
    leased: Callable[..., ServerPool], databases: list[str]
) -> None:
    pool = leased(1, max_size=5)
    connection = pool.getconn(DatabaseRoute(databases[0]))
    pool.server_limit = 100
    until(lambda: pool.max_size > 1)
    assert rows(1) == [(pool.max_size, 1)]
    pool.putconn(connection)


def test_it_grows_with_what_is_wanted_and_no_further_than_its_limit(
    leased: Callable[..., ServerPool], databases: list[str]
) -> None:
    pool = leased(2, max_size=6, timeout=10.0)
    pool.server_limit = 100
    lent = [pool.getconn(DatabaseRoute(name)) for name in databases[:6]]
    assert pool.max_size == 6
    for connection in lent:
        pool.putconn(connection)


def test_two_pools_share_what_the_server_has(leased: Callable[..., ServerPool], settings: Any) -> None:
    settings.POOL_RESERVE = 10
    first, second = leased(3, max_size=20), leased(3, max_size=20)
    first.server_limit = second.server_limit = 14
    until(lambda: first.max_size + second.max_size == 4)
    assert {first.max_size, second.max_size} <= {1, 2, 3}


def test_at_the_end_nothing_is_leased(leased: Callable[..., ServerPool]) -> None:
    pool = leased(4, max_size=5)
    until(lambda: rows(4))
    pool.close(1.0)
    keeper.stop()
    assert rows(4) == []


def test_who_cannot_renew_falls_back_before_others_may_take_what_it_had(
    leased: Callable[..., ServerPool], control: Proxy, databases: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "LAPSES_AFTER", 0.5)
    monkeypatch.setattr(keeper, "ANSWER_TIMEOUT", 0.3)
    pool = leased(5, max_size=5)
    pool.server_limit = 100
    until(lambda: pool.max_size == 3)
    control.swallow()
    until(lambda: pool.max_size == 1)
    assert rows(5) == [(3, 1)]  # it still counts
    control.release()
    until(lambda: pool.max_size == 3)


def test_a_lease_whose_session_has_gone_expires(leased: Callable[..., ServerPool], control: Proxy) -> None:
    other = leased(6, max_size=5)
    until(lambda: rows(6))
    with psycopg.connect(primary_url(), dbname=settings.DATABASES["control"]["NAME"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tenants_lease (budget_id, holder, process, size, wanted, backend, backend_start, renewed_at)"
            " VALUES ('keeper-test:6', gen_random_uuid(), 'killed', 7, 7, 0, now(), now() - interval '14 s')"
        )
        connection.execute(
            "INSERT INTO tenants_lease (budget_id, holder, process, size, wanted, backend, backend_start, renewed_at)"
            " SELECT 'keeper-test:6', gen_random_uuid(), 'stopped', 5, 5, pid, backend_start, now() - interval '1 h'"
            " FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        assert (7, 7) in rows(6)
        until(lambda: (7, 7) not in rows(6))
        assert (5, 5) in rows(6)  # its session lives, and so may its connections
    until(lambda: (5, 5) not in rows(6))
    assert other.max_size >= 1


def test_one_thread_keeps_all_leases(leased: Callable[..., ServerPool]) -> None:
    for port in range(10, 15):
        leased(port, max_size=5)
    until(lambda: all(rows(port) for port in range(10, 15)))
    assert [thread.name for thread in threading.enumerate()].count("pool-leases") == 1
