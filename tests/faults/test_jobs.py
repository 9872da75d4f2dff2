"""A worker is killed, and stopped for longer than its lease, in mid-job: each note is written once, and the job succeeds once.

The same with the fence or the checkpoint taken out must fail, or the check would prove nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import redis
from django.conf import settings

from activity.jobs.models import Job
from activity.jobs.services import job_cancel, job_start
from activity.jobs.tasks import sweep
from activity.models import OutboxEvent
from tenants.context import use_control, use_tenant
from tenants.refs import TenantRef
from tests.notes.models import Note
from tests.operations.processes import Started, program
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")

LEASE = 2


@contextmanager
def worker(folder: Path, application: str = "config") -> Iterator[Started]:
    """A worker with two processes and a short lease."""
    folder.mkdir()
    command = (
        "celery",
        "-A",
        application,
        "--quiet",
        "worker",
        "--concurrency",
        "2",
        "--without-mingle",
        "--without-gossip",
    )
    with program(
        folder, *command, "--hostname", f"{uuid4().hex[:8]}@localhost", process="worker", JOB_LEASE=str(LEASE)
    ) as it:
        it.wait_for_line(timeout=60, logger="celery.apps.worker", level="info")
        yield it


@pytest.fixture
def acme_entered(committed_tenant: TenantRef, django_db_blocker: Any) -> Iterator[TenantRef]:
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        yield committed_tenant
        OutboxEvent.objects.all().delete()
        Note.objects.all().delete()
        Job.objects.all().delete()


@contextmanager
def swept() -> Iterator[Callable[[], None]]:
    """What beat does, when the test waits: a function that sweeps."""
    from tenants.models import JobSummary

    def run() -> None:
        with use_control():
            JobSummary.objects.filter(finished_at=None).update(due_at="2000-01-01T00:00:00Z")
            sweep()

    yield run


def state_of(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def wait_until(
    job: Job, condition: Callable[[Job], bool], sweeping: Callable[[], None], *, timeout: float = 60.0
) -> Job:
    """Sweep, as beat does, until the job is so."""
    swept_at = 0.0

    def holds() -> Job | None:
        nonlocal swept_at
        if time.monotonic() - swept_at > 1:
            swept_at = time.monotonic()
            sweeping()
        now = state_of(job)
        return now if condition(now) else None

    found: Job = wait_for(holds, timeout=timeout, interval=0.05, what=f"the job's state (now {state_of(job).__dict__})")
    return found


def runner_of(started: Started, job: Job, attempt: int) -> int:
    """The process that claimed the job."""
    line = started.wait_for_line(event="job_claimed", job=str(job.pk), attempt=attempt)
    return int(line["pid"])


def written(title: str) -> list[int]:
    return sorted(int(body) for body in Note.objects.filter(title=title).values_list("body", flat=True))


def succeeded_events(job: Job) -> int:
    """Events of this job's success, in the outbox or, where a relay has been at work, in the log."""
    from activity import selectors
    from activity.search import Query
    from tenants.context import current

    waiting = OutboxEvent.objects.filter(document__action="job.succeeded", document__target__id=str(job.pk)).count()
    page = selectors.event_page(current(), Query(action="job.succeeded", target=f"job:{job.pk}"))
    return waiting + len(page.items)


def kill_in_mid_job(started: Started, folder: Path, application: str, times: int) -> tuple[Job, str]:
    """Kill the process that runs the job so many times, each time after some progress."""
    title = uuid4().hex
    job = job_start(kind="notes.write", params={"title": title, "count": 25 * (times + 1), "pause": 0.02})
    with swept() as sweeping:
        for attempt in range(1, times + 1):
            former = state_of(job).done
            wait_until(job, lambda now, n=attempt, d=former: now.attempt >= n and now.done > d + 3, sweeping)
            with contextlib.suppress(ProcessLookupError):
                os.kill(runner_of(started, job, state_of(job).attempt), signal.SIGKILL)
        return wait_until(job, lambda now: now.is_finished, sweeping), title


def stop_in_mid_job(started: Started, times: int) -> tuple[Job, str]:
    """Stop the process that runs the job for longer than its lease, until another one has it; then let it go on."""
    title = uuid4().hex
    job = job_start(kind="notes.write", params={"title": title, "count": 60 * (times + 1), "pause": 0.02})
    with swept() as sweeping:
        for _ in range(times):
            now = state_of(job)
            now = wait_until(job, lambda it, a=now.attempt, d=now.done: it.attempt > a and it.done > d, sweeping)
            victim = runner_of(started, job, now.attempt)
            os.kill(victim, signal.SIGSTOP)
            try:
                wait_until(job, lambda it, a=now.attempt: it.attempt > a or it.is_finished, sweeping)
            finally:
                os.kill(victim, signal.SIGCONT)
            # It is let go of its job before it may be given another one.
            wait_for(lambda v=victim: not is_stopped(v), what="the stopped process goes on")
        return wait_until(job, lambda it: it.is_finished, sweeping, timeout=120), title


def is_stopped(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def check(job: Job, title: str) -> None:
    assert job.state == "succeeded", job.error
    assert written(title) == list(range(job.params["count"]))
    assert job.done == job.params["count"] == job.counts["written"]
    assert succeeded_events(job) == 1


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.scenario)])
def test_kills_of_the_worker_leave_each_note_once(acme_entered: TenantRef, tmp_path: Path, times: int) -> None:
    with worker(tmp_path / "worker") as started:
        job, title = kill_in_mid_job(started, tmp_path, "config", times)
    check(job, title)
    assert job.attempt >= times + 1


def test_without_the_checkpoint_kills_leave_notes_twice(acme_entered: TenantRef, tmp_path: Path) -> None:
    """The control of the test above."""
    with worker(tmp_path / "worker", "tests.faults.without_checkpoint") as started:
        job, title = kill_in_mid_job(started, tmp_path, "tests.faults.without_checkpoint", 1)
    with pytest.raises(AssertionError):
        check(job, title)
    assert len(written(title)) > len(set(written(title)))


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.scenario)])
def test_a_worker_that_was_stopped_changes_nothing_when_it_wakes_up(
    acme_entered: TenantRef, tmp_path: Path, times: int
) -> None:
    with worker(tmp_path / "worker") as started:
        job, title = stop_in_mid_job(started, times)
        lost = wait_for(lambda: started.lines("job_lease_lost"), what="the stopped one learns that it lost the job")
    check(job, title)
    assert len(lost) >= 1


def test_without_the_fence_a_worker_that_was_stopped_writes_on(acme_entered: TenantRef, tmp_path: Path) -> None:
    """The control of the test above."""
    with worker(tmp_path / "worker", "tests.faults.without_fencing") as started:
        job, title = stop_in_mid_job(started, 1)
        wait_for(lambda: len(started.lines("job_ended")) >= 2, timeout=30, what="both attempts end")
        job = state_of(job)
    with pytest.raises(AssertionError):
        check(job, title)
    assert len(written(title)) > len(set(written(title)))


def test_sigterm_hands_a_job_back_and_the_next_worker_goes_on(acme_entered: TenantRef, tmp_path: Path) -> None:
    title = uuid4().hex
    job = job_start(kind="notes.write", params={"title": title, "count": 200, "pause": 0.05})
    with swept() as sweeping:
        with worker(tmp_path / "first") as first:
            wait_until(job, lambda now: now.done > 3, sweeping)
            code, seconds = first.terminate()
            handed_back = first.log.read_text().count('"job_handed_back"')  # Celery says its good-bye in prose
        assert code == 0
        assert seconds < 8
        assert handed_back == 1
        now = state_of(job)
        assert now.state == "queued"
        assert 3 < now.done < 200
        assert now.stalls == 0
        with worker(tmp_path / "second"):
            job = wait_until(job, lambda now: now.is_finished, sweeping)
    check(job, title)
    assert job.attempt == 2


def test_cancel_acts_within_two_seconds(acme_entered: TenantRef, tmp_path: Path) -> None:
    title = uuid4().hex
    job = job_start(kind="notes.write", params={"title": title, "count": 1000, "pause": 0.05})
    with swept() as sweeping, worker(tmp_path / "worker") as started:
        wait_until(job, lambda now: now.done > 3, sweeping)
        asked_at = time.monotonic()
        job_cancel(job=state_of(job))
        job = wait_until(job, lambda now: now.is_finished, sweeping)
        took = time.monotonic() - asked_at
        assert started.lines("job_ended")
    assert job.state == "cancelled"
    assert took < 2, f"{took:.1f} s"
    assert len(written(title)) == job.done  # what it did stays, and is counted
