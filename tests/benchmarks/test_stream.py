"""`stream` when its queries wait: 500 clients of one tenant, each asking for a query of 0.1 s, beside gthread. Run by `make bench`."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import load
from tests.operations.processes import FrontEnd, front_end

pytestmark = pytest.mark.bench

ROUNDS = 7
SECONDS = 4.0
CLIENTS = 500
SLEEP = 0.1
POOL = 50  # that one tenant may use: of a budget of 63 Django has a fifth, and one is kept for the other tenants


@pytest.fixture
def stream(tmp_path: Path, django_db_setup: None) -> Iterator[FrontEnd]:
    with front_end(tmp_path, "stream", "tests.operations.native_app:application", POOL_MAX="63") as found:
        yield found


@pytest.fixture
def gthread(tmp_path: Path, django_db_setup: None) -> Iterator[FrontEnd]:
    """Two processes of four threads, with a pool that never keeps one waiting."""
    numbers = {"WEB_CONCURRENCY": "2", "THREADS": "4", "POOL_MAX_PER_TENANT": "8", "POOL_MAX": "8"}
    with front_end(tmp_path, "web", "tests.benchmarks.sleeping_wsgi:application", **numbers) as found:
        yield found


def quantile(times: list[float], percent: int) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(times, n=100)[percent - 1]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def test_500_clients_of_slow_queries_beside_gthread(stream: FrontEnd, gthread: FrontEnd) -> None:
    of_limit, of_gthread, refused = [], [], 0
    for _ in range(ROUNDS):
        found = asyncio.run(
            load.run(stream.url, f"/sleep?s={SLEEP}", "acme.localhost", clients=CLIENTS, seconds=SECONDS)
        )
        assert next(iter(stream.get("/state").json()["pools"].values()))["pool_max"] == POOL + 1
        peer = asyncio.run(
            load.run(gthread.url, f"/sleep?s={SLEEP}", "acme.localhost", clients=CLIENTS, seconds=SECONDS)
        )
        of_limit.append(found.answers / SECONDS / (POOL / SLEEP))
        of_gthread.append(found.answers / peer.answers)
        refused += found.others
    print(f"\nof the limit of pool size / query time: {spread(of_limit)}, refused {refused}")
    print(f"as many as gthread with 2x4 threads: {spread(of_gthread)} times")


def test_another_tenants_fast_query_meanwhile(stream: FrontEnd) -> None:
    async def fast(seconds: float) -> load.Load:
        return await load.run(
            stream.url, "/fast", "globex.localhost", clients=1, seconds=seconds, warm_up=1.0, pause=0.01
        )

    async def meanwhile() -> tuple[load.Load, load.Load]:
        slow = load.run(stream.url, f"/sleep?s={SLEEP}", "acme.localhost", clients=CLIENTS, seconds=SECONDS + 1)
        return await asyncio.gather(slow, fast(SECONDS))  # type: ignore[return-value]

    ratios = []
    for _ in range(ROUNDS):
        idle = asyncio.run(fast(2.0))
        slow, busy = asyncio.run(meanwhile())
        assert busy.others == 0
        ratios.append(quantile(busy.times, 99) / quantile(idle.times, 99))
        print(
            f"\nfast query: p50 {quantile(idle.times, 50):.1f} -> {quantile(busy.times, 50):.1f} ms,"
            f" p99 {quantile(idle.times, 99):.1f} -> {quantile(busy.times, 99):.1f} ms,"
            f" slow {slow.answers / (SECONDS + 1):.0f}/s",
            end="",
        )
    print(f"\np99 busy / idle: {spread(ratios)}")
