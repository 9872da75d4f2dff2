"""`celery -A config`: a worker and a beat that run for real."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import redis
from django.conf import settings
from structlog.contextvars import bound_contextvars

from tenants import hints
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.operations.processes import Started


@pytest.fixture
def worker(start: Callable[..., Started]) -> Started:
    """A worker with one child that is ready for tasks."""
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    started = start("celery", "-A", "config", "--quiet", "worker", "--concurrency", "1", process="worker")
    started.wait_for_line(timeout=30, logger="celery.apps.worker", level="info")
    return started


def test_a_hint_runs_in_its_tenant_and_leaves_one_line(worker: Started, committed_tenant: TenantRef) -> None:
    with use_tenant(committed_tenant), bound_contextvars(request_id="request-of-this-test"):
        hints.send("accounts.prune")
    line = worker.wait_for_line(event="task_succeeded", task="accounts.prune")
    assert line["tenant"] == committed_tenant.slug
    assert line["request_id"] == "request-of-this-test"
    assert line["duration_ms"] >= 0
    assert line["process"] == "worker"
    assert len([line for line in worker.lines() if line.get("task") == "accounts.prune"]) == 1


def test_a_task_that_fails_says_so_with_its_tenant(worker: Started, committed_tenant: TenantRef) -> None:
    with use_tenant(committed_tenant):
        hints.send("accounts.prune", unexpected="an argument", password="not-for-the-log")
        hints.send("activity.relay", tenant_wrong=1)
    line = worker.wait_for_line(event="task_failed", task="activity.relay")
    assert line["level"] == "error"
    assert line["tenant"] == committed_tenant.slug
    assert "not-for-the-log" not in worker.log.read_text()


def test_sigterm_ends_it_with_0(worker: Started) -> None:
    code, seconds = worker.terminate()
    assert code == 0
    assert seconds < 15


def test_beat_sends_what_is_due(start: Callable[..., Started], worker: Started) -> None:
    folder = os.fspath(worker.log.parent)
    beat = start("celery", "-A", "config", "--quiet", "beat", "--schedule", f"{folder}/schedule", process="beat")
    line = worker.wait_for_line(timeout=20, event="task_succeeded", task="activity.sweep")
    assert line["tenant"] == "control"
    assert beat.terminate()[0] == 0
