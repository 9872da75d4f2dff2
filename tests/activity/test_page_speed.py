"""How long a page takes among 100,000 events of a tenant: 50 ms at most wherever it is, 150 ms with filters."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from activity import log
from activity.search import Query
from tenants.pages import encode_cursor
from tenants.refs import TenantRef
from tests.activity.test_log import event, of_nobody

pytestmark = pytest.mark.bench

COUNT = int(os.environ.get("BENCH_EVENTS", "100000"))
PLAIN, FILTERED = 50.0, 150.0  # milliseconds


@pytest.fixture(scope="module")
def long_log(django_db_blocker: DjangoDbBlocker) -> Iterator[TenantRef]:
    ref = of_nobody("long")
    chance = random.Random(11)
    with django_db_blocker.unblock():
        for first in range(1, COUNT + 1, 1000):
            log.append(ref, [event(seq, chance) for seq in range(first, first + 1000)])
        yield ref
        log.purge(ref)


@pytest.mark.parametrize(
    ("filters", "limit"),
    [
        ({}, PLAIN),
        ({"order": "oldest"}, PLAIN),
        ({"source": "api"}, FILTERED),
        ({"action": "commit."}, FILTERED),
        ({"actor": "user:rare"}, FILTERED),
        ({"actor": "user:nobody"}, FILTERED),
        ({"q": "parser müller"}, FILTERED),
        ({"q": "nowhere", "source": "api"}, FILTERED),
        ({"actor": "user:rare", "q": "engine", "source": "ui", "action": "release."}, FILTERED),
    ],
    ids=str,
)
@pytest.mark.parametrize("depth", [0.0, 0.5, 0.99])
def test_a_page(long_log: TenantRef, filters: dict[str, Any], limit: float, depth: float) -> None:
    query = Query(**filters)
    position = round(COUNT * (depth if query.order == "oldest" else 1 - depth)) or 1
    times = []
    for _ in range(7):
        started = time.perf_counter()
        log.page(long_log, head=COUNT, query=query, cursor=encode_cursor(position), limit=50)
        times.append((time.perf_counter() - started) * 1000)
    print(f"{filters} at {depth:.0%}: median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms")
    assert statistics.median(times) <= limit
