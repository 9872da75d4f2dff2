"""What it costs a task to enter its tenant and to leave it, beside Celery's own task that does nothing. Run by `make bench`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings

from config.celery import app
from tenants.refs import TenantRef
from tests.operations.processes import Started, program
from tests.system import wait_for

pytestmark = [pytest.mark.bench, pytest.mark.xdist_group("celery")]

ROUNDS = 21
TASKS = 300  # a round's
ALLOWED = 1.10


@pytest.fixture
def worker(tmp_path: Path, django_db_setup: None) -> Iterator[Started]:
    """One process, and nothing else to do."""
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    command = ("celery", "-A", "tests.benchmarks.no_op_tasks", "--quiet", "worker", "--concurrency", "1", "-n", "b@l")
    with program(tmp_path, *command, process="worker") as started:
        started.wait_until_ready()
        yield started


def seconds(broker: Any, task: str, headers: dict[str, str]) -> float:
    """How long the worker took for so many, from the first to the last as it noted them."""
    ends = uuid4().hex
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(TASKS):
            last = number == TASKS - 1
            name = "bench.mark" if number == 0 or last else task
            app.send_task(
                name, kwargs={"ends": ends} if name == "bench.mark" else {}, headers=headers, producer=producer
            )
    wait_for(lambda: broker.llen(ends) == 2, timeout=60, what="the round's end")
    began, ended = (float(line) for line in broker.lrange(ends, 0, -1))
    return ended - began


def test_entering_and_leaving_a_tenant(worker: Started, committed_tenant: TenantRef) -> None:
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    headers = {"tenant": committed_tenant.id}
    plain, entered = [], []
    for number in range(ROUNDS + 2):
        kinds = [("bench.plain", plain), ("bench.entered", entered)]
        for task, found in kinds if number % 2 else reversed(kinds):
            found.append(seconds(broker, task, headers))
    plain, entered = plain[2:], entered[2:]
    ratios = sorted(mine / theirs for mine, theirs in zip(entered, plain, strict=True))
    ratio = statistics.median(ratios)
    print(
        f"\na task that does nothing: {1e3 * statistics.median(plain) / TASKS:.2f} ms; in a tenant:"
        f" {1e3 * statistics.median(entered) / TASKS:.2f} ms; ratio {ratio:.2f}"
        f" (middle half {ratios[len(ratios) // 4]:.2f} to {ratios[3 * len(ratios) // 4]:.2f})"
    )
    assert ratio <= ALLOWED
