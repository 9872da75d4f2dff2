"""A relay that kills itself around its counting: `python -m tests.activity.counting_process <tenant id> <point> [careless]`.

Points: `uncounted` (the rows are deleted, nothing is counted, nothing is committed), `counted`, `committed`, and `none`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import django

django.setup()

from django.db import transaction  # noqa: E402

from activity import rollups  # noqa: E402
from activity.models import OutboxEvent  # noqa: E402
from activity.relay import relay  # noqa: E402
from tenants import context, directory  # noqa: E402

exact = rollups.count


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exact_count(rows: Sequence[OutboxEvent]) -> None:
    if point == "uncounted":
        die()
    exact(rows)
    if point == "counted":
        die()
    if point == "committed":
        transaction.on_commit(die)


def careless_count(rows: Sequence[OutboxEvent]) -> None:
    """The control: it counts after the transaction has committed, and doesn't note what it has counted."""

    def add() -> None:
        if point != "none":
            die()
        rollups._run(
            f"WITH head AS (SELECT 1) {rollups._ADD}",
            rollups.tally(row.document for row in rows),
        )

    transaction.on_commit(add)


if __name__ == "__main__":
    point = sys.argv[2]
    rollups.count = careless_count if "careless" in sys.argv else exact_count
    with context.use_control():
        tenant = directory.by_id(sys.argv[1])
    with context.use_tenant(tenant):
        relay(tenant)
