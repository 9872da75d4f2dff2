"""Pages of a long log: at depth as quick as the first one, and with whatever filters. Run by `make bench`.

BENCH_DEPTH sets the number of events (1,000,000, which takes minutes to append).
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from activity import log
from activity.search import Query
from tenants.pages import encode_cursor
from tenants.refs import TenantRef
from tests.activity.long_log import append_patiently
from tests.activity.test_log import event, of_nobody

pytestmark = pytest.mark.bench

COUNT = int(os.environ.get("BENCH_DEPTH", "1000000"))
ROUNDS = 31
AT_DEPTH = 1.3  # times the first page


@pytest.fixture(scope="module")
def deep_log(django_db_blocker: DjangoDbBlocker) -> Iterator[TenantRef]:
    ref = of_nobody("deep")
    chance = random.Random(12)
    with django_db_blocker.unblock():
        for first in range(1, COUNT + 1, 1000):
            append_patiently(ref, [event(seq, chance) for seq in range(first, first + 1000)])
        yield ref
        log.purge(ref)


def test_a_page_at_depth_is_as_quick_as_the_first(deep_log: TenantRef) -> None:
    """The two take turns, so that whatever else the machine does slows both."""
    depths = {"first": COUNT, "half": COUNT // 2, "deepest": 60}
    times: dict[str, list[float]] = {name: [] for name in depths}
    for _ in range(ROUNDS):
        for name, position in depths.items():
            started = time.perf_counter()
            page = log.page(deep_log, head=COUNT, query=Query(), cursor=encode_cursor(position), limit=50)
            times[name].append((time.perf_counter() - started) * 1000)
            assert len(page.items) == 50
    medians = {name: statistics.median(found) for name, found in times.items()}
    print(f"{COUNT} events: " + ", ".join(f"{name} {median:.2f} ms" for name, median in medians.items()))
    assert medians["deepest"] <= AT_DEPTH * medians["first"]
    assert medians["half"] <= AT_DEPTH * medians["first"]
