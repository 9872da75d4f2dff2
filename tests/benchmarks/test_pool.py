"""What the pool costs, beside psycopg_pool and beside Django with a database of its own. Run by `make bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
from django.db import connection
from psycopg_pool import ConnectionPool

from accounts.models import User
from tenants.context import use_tenant
from tenants.db.books import PoolLimits
from tenants.db.pool import ServerPool
from tenants.refs import TenantRef
from tests.tenants.conftest import DatabaseRoute, primary_url

pytestmark = pytest.mark.bench

ROUNDS = 7


def per_call(run: Callable[[], object], times: int) -> float:
    """Microseconds of one call, over so many."""
    started = time.perf_counter()
    for _ in range(times):
        run()
    return 1e6 * (time.perf_counter() - started) / times


def compare(what: str, ours: Callable[[], object], peer: Callable[[], object], times: int) -> None:
    """Print the medians of ROUNDS rounds, taken in turn, and the ratio round by round."""
    for run in (ours, peer):
        per_call(run, times // 10)
    pairs = [(per_call(ours, times), per_call(peer, times)) for _ in range(ROUNDS)]
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"\n{what}: {statistics.median(a for a, _ in pairs):.1f} us, peer {statistics.median(b for _, b in pairs):.1f} us,"
        f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def test_checkout_and_return_beside_psycopg_pool() -> None:
    route = DatabaseRoute("postgres", "bench")
    mine = ServerPool("bench", PoolLimits(max_size=4))
    with ConnectionPool(primary_url(), min_size=1, max_size=4, open=True) as theirs:
        theirs.wait()
        compare(
            "checkout and return, psycopg_pool as the peer",
            lambda: mine.putconn(mine.getconn(route)),
            lambda: theirs.putconn(theirs.getconn()),
            5_000,
        )
    mine.close()


def test_a_get_in_a_tenant_beside_a_connection_kept_open(tenant: TenantRef) -> None:
    """The peer is the same query through the same ORM on a connection that is never given back."""
    user = User.objects.create_user("bench@acme.example")

    def get() -> object:
        return User.objects.get(pk=user.pk)

    def enter_and_get() -> object:
        with use_tenant(tenant):
            return get()

    compare("enter the active tenant and get()", enter_and_get, get, 1_000)
    assert connection.in_atomic_block  # of the test: the tenant was entered again, not left


def test_entering_and_leaving_a_tenant(committed_tenant: TenantRef, django_db_blocker: pytest.FixtureRequest) -> None:
    def enter() -> None:
        with use_tenant(committed_tenant):
            pass

    def enter_and_borrow() -> None:
        with use_tenant(committed_tenant):
            connection.ensure_connection()

    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        compare("enter, borrow a connection, give it back; entering alone as the peer", enter_and_borrow, enter, 2_000)
