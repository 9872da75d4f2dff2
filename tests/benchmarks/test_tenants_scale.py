"""What a request costs with 10, 100, 1,000 and 10,000 registered tenants, 500 of them with databases. Run by `make bench`.

One process, a pool of 50, tenants chosen by Zipf's law with exponent 1.3. TENANTRY_SCALE_TENANTS=1000 and TENANTRY_SCALE_DATABASES=100 make
a quick run of it.
"""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import threading
import time
import tracemalloc
from bisect import bisect
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from pytest_django import DjangoDbBlocker

from tenants import directory
from tenants.context import use_control, use_tenant
from tenants.db.books import PoolLimits
from tenants.db.pool import ServerPool
from tenants.db.pools import pool_of
from tenants.ids import new_id
from tenants.models import Server, Tenant
from tenants.servers import server_of

pytestmark = pytest.mark.bench

TENANTS = int(os.environ.get("TENANTRY_SCALE_TENANTS", "10000"))
DATABASES = int(os.environ.get("TENANTRY_SCALE_DATABASES", "500"))
BUDGET = 50
WARM, REQUESTS, ROUNDS = 200, 300, 7
EXPONENT = 1.3
PREFIX = "scale"


def admin() -> psycopg.Connection[tuple[object, ...]]:
    url = json.loads(os.environ["TENANT_SERVERS"])["local"]["primary"]
    return psycopg.connect(url, autocommit=True)


@pytest.fixture(scope="module")
def registered(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[list[str]]:
    """The slugs of the tenants that have a database: a table of one row, owned by a role of their own kind."""
    databases = [f"{PREFIX}_{number}" for number in range(DATABASES)]
    with admin() as server:
        for (left,) in server.execute(f"SELECT datname FROM pg_database WHERE datname ~ '^{PREFIX}_'").fetchall():
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(left))))
        server.execute(f"DROP ROLE IF EXISTS {PREFIX}")
        server.execute(f"CREATE ROLE {PREFIX} LOGIN PASSWORD '{PREFIX}'")
        for name in databases:
            server.execute(sql.SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(sql.Identifier(name)))
    with django_db_blocker.unblock(), use_control():
        Tenant.objects.filter(slug__startswith=f"{PREFIX}-").delete()
        local = Server.objects.get(pk="local")
        rows = []
        for number in range(TENANTS):
            database = databases[number] if number < DATABASES else f"{PREFIX}_none_{number}"
            row = Tenant(
                id=new_id(), slug=f"{PREFIX}-{number}", name=f"Scale {number}", state=Tenant.State.ACTIVE,
                server=local, database=database, role=PREFIX,
            )  # fmt: skip
            row.set_password(PREFIX)
            rows.append(row)
        Tenant.objects.bulk_create(rows, batch_size=1000)
    yield [f"{PREFIX}-{number}" for number in range(min(DATABASES, TENANTS))]
    with django_db_blocker.unblock(), use_control():
        pool_of(server_of("local").primary).drop_idle()
        Tenant.objects.filter(slug__startswith=f"{PREFIX}-").delete()
    with admin() as server:
        for name in databases:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        server.execute(f"DROP ROLE {PREFIX}")


def choices(count: int, requests: int, seed: int) -> list[int]:
    """Numbers of tenants by Zipf's law: the n-th is asked for in proportion to n ** -EXPONENT."""
    weights = list(accumulate((number + 1) ** -EXPONENT for number in range(count)))
    choose = random.Random(seed)
    return [bisect(weights, choose.random() * weights[-1]) for _ in range(requests)]


def hits_of_an_ideal_lru(sequence: list[int], size: int) -> int:
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number in sequence:
        if number in kept:
            kept.move_to_end(number)
            hits += 1
        else:
            kept[number] = None
            if len(kept) > size:
                kept.popitem(last=False)
    return hits


def request(slug: str) -> float:
    """What every request does: find the tenant, enter it, ask its database something, leave it. Seconds spent in the asking."""
    with use_tenant(directory.by_slug(slug)), connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute("SELECT 1")
        cursor.fetchone()
        return time.perf_counter() - started


def test_a_request_costs_the_same_with_ten_and_with_ten_thousand_tenants(
    registered: list[str], django_db_blocker: DjangoDbBlocker, settings: object
) -> None:
    settings.DIRECTORY_TTL = 3600.0  # type: ignore[attr-defined]  # the registry's own look-ups are measured elsewhere
    with django_db_blocker.unblock():
        with use_control():
            pool = pool_of(server_of("local").primary)
        former, pool.limits = pool.limits, PoolLimits(max_size=BUDGET, max_per_tenant=BUDGET)
        pool.resize(BUDGET)
        try:
            measure(registered, pool)
        finally:
            pool.limits = former
            pool.resize(former.max_size)


def measure(registered: list[str], pool: ServerPool) -> None:
    steps = sorted({step for step in (10, 100, 1_000, 10_000) if step <= TENANTS})
    known = {}
    for step in steps:  # what a process knows that has served each of them
        directory.forget_all()
        with use_control():
            for number in range(step):
                directory.by_slug(f"{PREFIX}-{number}")
        known[step] = OrderedDict(directory._entries)
    p50: dict[int, list[float]] = {step: [] for step in steps}
    ours: dict[int, list[float]] = {step: [] for step in steps}
    rates: dict[int, list[float]] = {step: [] for step in steps}
    most_backends = most_threads = 0
    before = threading.active_count()
    with admin() as observer:
        for round_number in range(ROUNDS + 1):
            for step in steps:  # taken in turn, so that a noisy moment meets all of them
                count = min(step, len(registered))
                numbers = choices(count, WARM + REQUESTS, seed=round_number * 100_000 + step)
                directory._entries.clear()
                directory._entries.update(known[step])
                pool.drop_idle()
                for number in numbers[:WARM]:
                    request(registered[number])
                times, own, misses = [], [], 0
                for index, number in enumerate(numbers[WARM:]):
                    opened = pool.get_stats()["connections_num"]
                    started = time.perf_counter()
                    asking = request(registered[number])
                    took = time.perf_counter() - started
                    if pool.get_stats()["connections_num"] == opened:
                        times.append(took)
                        own.append(took - asking)
                    else:
                        misses += 1
                    if index % 10 == 0:
                        seen = observer.execute(
                            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [PREFIX]
                        ).fetchone()
                        assert seen is not None
                        most_backends = max(most_backends, int(str(seen[0])))
                        most_threads = max(most_threads, threading.active_count())
                if round_number:  # the first one warms up
                    p50[step].append(statistics.median(times) * 1e6)
                    ours[step].append(statistics.median(own) * 1e6)
                    ideal = hits_of_an_ideal_lru(numbers, BUDGET) - hits_of_an_ideal_lru(numbers[:WARM], BUDGET)
                    rates[step].append((REQUESTS - misses) / ideal)
    for step in steps:
        whole, part = (
            sorted(a / b for a, b in zip(measured[step], measured[steps[0]], strict=True)) for measured in (p50, ours)
        )
        print(
            f"\n{step:>6} tenants ({min(step, len(registered))} databases): p50 of hits {statistics.median(p50[step]):.0f} us,"
            f" {statistics.median(whole):.2f}x of {steps[0]} ({whole[0]:.2f} to {whole[-1]:.2f}); without the query"
            f" {statistics.median(ours[step]):.0f} us, {statistics.median(part):.2f}x ({part[0]:.2f} to {part[-1]:.2f});"
            f" hits {statistics.median(rates[step]):.3f} of an ideal LRU's"
        )
    print(f"backends at most {most_backends} of {BUDGET}; threads at most {most_threads}, {before} before")
    assert most_backends <= BUDGET
    assert most_threads <= before + 4


def test_an_idle_tenant_costs_less_than_a_kibibyte(registered: list[str], django_db_blocker: DjangoDbBlocker) -> None:
    """Each tenant with a database is visited once; what is left in memory when its connection was stolen is counted."""
    with django_db_blocker.unblock():
        few, many = registered[: len(registered) // 5], registered[len(registered) // 5 :]
        for slug in few * 2:
            request(slug)
        few, many = many[: len(few)], many[len(few) :]
        gc.collect()
        tracemalloc.start()
        for slug in few:
            request(slug)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for slug in many:
            request(slug)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    each = (after - before) / len(many)
    print(f"\n{len(many)} more tenants visited: {each:.0f} bytes each, the directory's entry included")
    assert each <= 1024
