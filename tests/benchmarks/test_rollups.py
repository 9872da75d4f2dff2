"""What counting costs the relay, and how quick the counts of a year are. Run by `make bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from activity import log, rollups, stats
from activity.models import OutboxEvent
from activity.relay import relay
from tenants.refs import TenantRef
from tests.activity.test_rollups import ingest, some

pytestmark = pytest.mark.bench

BATCHES = 12


@pytest.fixture
def logged_tenant(tenant: TenantRef) -> Iterator[TenantRef]:
    yield tenant
    log.purge(tenant)


def test_counting_a_batch(logged_tenant: TenantRef) -> None:
    """The relay's batches of 1,000, and how much of each is counting."""
    relaying, counting = [], []
    exact = rollups.count

    def timed(rows: list[OutboxEvent]) -> None:
        started = time.perf_counter()
        exact(rows)
        counting.append((time.perf_counter() - started) * 1000)

    rollups.count = timed  # type: ignore[assignment]
    try:
        for batch in range(BATCHES):
            ingest(some(1000, seed=batch, since=timedelta(days=1)))
            started = time.perf_counter()
            relay(logged_tenant)
            relaying.append((time.perf_counter() - started) * 1000)
    finally:
        rollups.count = exact
    part = statistics.median(counting) / statistics.median(relaying)
    print(
        f"a batch: {statistics.median(relaying):.0f} ms, of it counting {statistics.median(counting):.1f} ms ({part:.1%})"
    )
    assert part <= 0.1


def test_the_counts_of_a_year(tenant: TenantRef) -> None:
    """40 actions and 200 actors on each of 366 days."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with connection.cursor() as cursor:
        for series, names in ((2, 40), (3, 200)):
            cursor.execute(
                """
                INSERT INTO activity_rollup (series, start, name, events)
                SELECT %s, %s::timestamptz - interval '1 day' * day, 'thing.of_' || name, 1 + (day * name) %% 50
                FROM generate_series(0, 365) AS day, generate_series(1, %s) AS name
                """,
                [series, today, names],
            )
        cursor.execute("ANALYZE activity_rollup")
    times = []
    for _ in range(15):
        started = time.perf_counter()
        found = stats.activity_stats(start=today - timedelta(days=365), end=today)
        times.append((time.perf_counter() - started) * 1000)
    assert len(found.buckets) == 366
    print(f"a year of 40 actions and 200 actors: {statistics.median(times):.0f} ms")
    assert statistics.median(times) <= 500
