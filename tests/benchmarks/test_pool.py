"""What the pool costs, beside psycopg_pool and beside Django with a database of its own. Run by `make bench`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from django.db import connection
from psycopg_pool import ConnectionPool
from pytest_django import DjangoDbBlocker

from accounts.models import User
from tenants.context import use_tenant
from tenants.db.base import startup_options
from tenants.db.books import PoolLimits
from tenants.db.pool import ServerPool
from tenants.refs import TenantRef
from tests.tenants.conftest import DatabaseRoute, primary_url

pytestmark = pytest.mark.bench

ROUNDS = 61


def per_call(run: Callable[[], object], times: int) -> float:
    """Microseconds of one call, over so many."""
    started = time.perf_counter()
    for _ in range(times):
        run()
    return 1e6 * (time.perf_counter() - started) / times


class Timed:
    """A function of this process, by the microseconds of one call over so many."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run

    def __call__(self, times: int) -> float:
        return per_call(self.run, times)


class PlainDjango:
    """Another process that runs plain Django (plain_django.py) and measures itself."""

    def __init__(self, database: dict[str, Any], pk: str) -> None:
        script = Path(__file__).with_name("plain_django.py")
        self._command = [sys.executable, "-W", "error", str(script), json.dumps(database), pk]

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._read() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def __call__(self, times: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def compare(what: str, ours: Callable[[int], float], peer: Callable[[int], float], times: int) -> None:
    """Print the medians of ROUNDS rounds, taken in turn, and the ratio round by round."""
    for run in (ours, peer):
        run(times // 10)
    pairs = [(ours(times), peer(times)) for _ in range(ROUNDS)]
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"\n{what}: {statistics.median(a for a, _ in pairs):.1f} us, peer {statistics.median(b for _, b in pairs):.1f} us,"
        f" ratio {statistics.median(ratios):.2f} (middle half {ratios[len(ratios) // 4]:.2f} to {ratios[-len(ratios) // 4]:.2f}),"
        f" of the best rounds {min(a for a, _ in pairs) / min(b for _, b in pairs):.2f}"
    )


def test_checkout_and_return_beside_psycopg_pool() -> None:
    route = DatabaseRoute("postgres", "bench")
    mine = ServerPool("bench", PoolLimits(max_size=4))
    with ConnectionPool(primary_url(), min_size=1, max_size=4, open=True) as theirs:
        theirs.wait()
        compare(
            "checkout and return, psycopg_pool as the peer",
            Timed(lambda: mine.putconn(mine.getconn(route))),
            Timed(lambda: theirs.putconn(theirs.getconn())),
            5_000,
        )
    mine.close()


def test_a_get_in_a_tenant_beside_plain_django(committed_tenant: TenantRef, django_db_blocker: DjangoDbBlocker) -> None:
    """Entered, borrowed, given back and left for each `get()`; the peer borrows from its native pool and gives back, too."""
    with django_db_blocker.unblock():
        with use_tenant(committed_tenant):
            user = User.objects.create_user("bench@acme.example")
            kwargs = dict(connection.settings_dict)

        def get() -> None:
            with use_tenant(committed_tenant):
                User.objects.get(pk=user.pk)

        peer_settings = {key: kwargs[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
        peer_settings["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 4}, "options": startup_options()}
        try:
            with PlainDjango(peer_settings, str(user.pk)) as peer:
                compare("a get() in a tenant, plain Django with its pool as the peer", Timed(get), peer, 100)
        finally:
            with use_tenant(committed_tenant):
                user.delete()


def test_entering_and_leaving_a_tenant(committed_tenant: TenantRef, django_db_blocker: DjangoDbBlocker) -> None:
    def enter() -> None:
        with use_tenant(committed_tenant):
            pass

    def enter_and_borrow() -> None:
        with use_tenant(committed_tenant):
            connection.ensure_connection()

    with django_db_blocker.unblock():
        compare(
            "enter, borrow a connection, give it back; entering alone as the peer",
            Timed(enter_and_borrow),
            Timed(enter),
            2_000,
        )
