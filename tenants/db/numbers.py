"""What a pool counts, under psycopg_pool's names; `connections_stolen` is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Since the start; those that end in _ms are milliseconds.
COUNTERS: Final = (
    "usage_ms",
    "requests_num",
    "requests_queued",
    "requests_wait_ms",
    "requests_errors",
    "returns_bad",
    "connections_num",
    "connections_ms",
    "connections_errors",
    "connections_lost",
    "connections_stolen",
)


def stats_of(*, max_size: int, size: int, available: int, waiting: int, counters: Mapping[str, int]) -> dict[str, int]:
    """Gauges of now, and the counters. A pool keeps nothing open for its own sake, so `pool_min` is 0."""
    return {
        "pool_min": 0,
        "pool_max": max_size,
        "pool_size": size,
        "pool_available": available,
        "requests_waiting": waiting,
        **{name: counters[name] for name in COUNTERS},
    }
