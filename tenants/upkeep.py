"""Throwing away what is old, in batches: nothing is locked for long, and no tenant keeps a worker from the others."""

from __future__ import annotations

import time
from collections.abc import Callable


def in_batches(prune: Callable[[], int], *, seconds: float = 60.0) -> int:
    """Have `prune` throw away a batch, and say how many went, until it finds none; returns how many went in all.

    After `seconds` what is left waits for the next day.
    """
    until, pruned = time.monotonic() + seconds, 0
    while batch := prune():
        pruned += batch
        if time.monotonic() >= until:
            break
    return pruned
