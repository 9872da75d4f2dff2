"""`celery -A config`: a worker and a beat that run for real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from prometheus_client.multiprocess import MultiProcessCollector
from structlog.contextvars import bound_contextvars

from activity.jobs import files as job_files
from activity.jobs.models import Job
from activity.jobs.services import job_start
from tenants import hints, probes, workers
from tenants.context import use_control, use_tenant
from tenants.models import JobSummary, JobTurn
from tenants.refs import TenantRef
from tenants.tasks import fan_out
from tests.operations.processes import Started, program
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")  # one worker for all of them

WORKER = ("celery", "-A", "config", "--quiet", "worker", "--concurrency", "1")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Started]:
    """A worker with one child that is ready for tasks."""
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    with program(tmp_path_factory.mktemp("worker"), *WORKER, process="worker") as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def acme_entered(committed_tenant: TenantRef, django_db_blocker: Any) -> Iterator[TenantRef]:
    """`acme` without a transaction, as a request has it when its hints go out."""
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        yield committed_tenant


def test_a_hint_runs_in_its_tenant_and_leaves_one_line(worker: Started, acme_entered: TenantRef) -> None:
    with bound_contextvars(request_id="request-of-this-test"):
        hints.send("accounts.prune")
    line = worker.wait_for_line(event="task_succeeded", task="accounts.prune")
    assert line["tenant"] == "acme"
    assert line["request_id"] == "request-of-this-test"
    assert line["duration_ms"] >= 0
    assert line["process"] == "worker"
    assert len([line for line in worker.lines() if line.get("task") == "accounts.prune"]) == 1


def test_a_task_that_fails_says_so_and_keeps_its_arguments_to_itself(worker: Started, acme_entered: TenantRef) -> None:
    hints.send("tenants.fan_out", password="not-for-the-log")
    line = worker.wait_for_line(event="task_failed", task="tenants.fan_out")
    assert line["level"] == "error"
    assert line["tenant"] == "acme"
    assert "missing 1 required keyword-only argument" in line["error"]
    assert "not-for-the-log" not in worker.log.read_text()


def test_beat_sends_what_is_due(worker: Started, start_program: Callable[..., Started], tmp_path: Path) -> None:
    beat = start_program("celery", "-A", "config", "--quiet", "beat", "--schedule", f"{tmp_path}/due", process="beat")
    line = worker.wait_for_line(event="task_succeeded", task="activity.sweep")
    assert line["tenant"] == "control"
    assert beat.terminate()[0] == 0


def test_its_numbers_are_where_web_tells_them(worker: Started, acme_entered: TenantRef) -> None:
    hints.send("activity.relay")
    hints.send("tenants.fan_out")  # which lacks what to fan out
    worker.wait_for_line(event="task_succeeded", task="activity.relay")
    worker.wait_for_line(event="task_failed", task="tenants.fan_out")
    collector = MultiProcessCollector(None, path=str(worker.log.parent / "metrics" / "worker"))
    counts = {
        (sample.labels["task"], sample.labels["outcome"]): sample.value
        for family in collector.collect()
        for sample in family.samples
        if sample.name == "tenantry_task_duration_seconds_count"
    }
    assert counts["activity.relay", "succeeded"] >= 1
    assert counts["tenants.fan_out", "failed"] >= 1


def test_a_worker_is_asked_and_named_in_the_summary_of_a_job(worker: Started, acme_entered: TenantRef) -> None:
    job = job_start(kind="members.export")
    try:
        wait_for(lambda: Job.objects.get(pk=job.pk).is_finished, timeout=30, what="the job's end")
        with use_control():
            named = JobSummary.objects.get(pk=job.pk)
        (mine,) = wait_for(workers.answering, timeout=30, what="a worker's answer")
        assert (mine.processes, mine.tasks > 0) == (1, True)
        assert named.worker == f"{mine.name} {named.process}"
        assert int(named.process) == worker.wait_for_line(event="job_claimed", job=str(job.pk))["pid"]
    finally:
        job_files.delete_all(job.pk)
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE activity_outboxevent, jobs_job CASCADE")
        with use_control():
            JobSummary.objects.filter(pk=job.pk).delete()
            JobTurn.objects.filter(tenant=acme_entered.id).delete()


def test_a_round_of_all_tenants_holds_nothing_up(
    start_program: Callable[..., Started], worker: Started, acme_entered: TenantRef
) -> None:
    """A sweep that waited behind a nightly round would be too late: it expires."""
    worker.terminate()
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    broker.flushdb()
    with use_control():
        sent = sum(fan_out.run(task="webhooks.prune") for _ in range(20))
    assert sent >= 40
    hints.send("accounts.prune")
    wait_for(lambda: queue_depth() == sent + 1, what="all of them are in the broker")
    other = start_program(*WORKER, "--hostname", "rounds@localhost", process="worker")
    other.wait_for_line(timeout=60, event="task_succeeded", task="accounts.prune")
    before = [line["task"] for line in other.lines("task_succeeded")]
    assert before.index("accounts.prune") <= 4  # what it had taken already
    wait_for(lambda: queue_depth() == 0, timeout=60, what="the round has ended")


@pytest.mark.parametrize("expires", [0.5, None])
def test_calls_that_an_outage_has_left_are_not_worked_through(
    start_program: Callable[..., Started], worker: Started, acme_entered: TenantRef, expires: float | None
) -> None:
    """What is new would wait behind thousands of them. The control is a call that doesn't expire."""
    worker.terminate()
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    hints.send_to_control("jobs.turns", expires=expires)
    wait_for(lambda: queue_depth() == 1, what="the call is in the broker")
    time.sleep(1)
    hints.send("accounts.prune")
    other = start_program(*WORKER, "--hostname", f"calls{expires}@localhost", process="worker")
    other.wait_for_line(timeout=60, event="task_succeeded", task="accounts.prune")
    assert [line["task"] for line in other.lines("task_succeeded")].count("jobs.turns") == (0 if expires else 1)


def queue_depth() -> int:
    """As the metrics have it."""
    found = asyncio.run(probes._redis(settings.CELERY_BROKER_URL, queue=settings.CELERY_TASK_DEFAULT_QUEUE))
    return int(found["queue_depth"])


def test_sigterm_ends_a_worker_with_0(start_program: Callable[..., Started]) -> None:
    other = start_program(*WORKER, "--hostname", "other@localhost", process="worker")
    other.wait_until_ready()
    code, seconds = other.terminate()
    assert code == 0
    assert seconds < 25
