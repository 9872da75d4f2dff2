"""A worker with a short lease, what beat does, and faults in mid-job: shared by the tests of jobs' faults."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
from django.db import OperationalError, transaction

from activity import selectors
from activity.jobs.models import Job
from activity.jobs.tasks import sweep
from activity.models import OutboxEvent
from activity.search import Query
from tenants.context import current, use_control
from tenants.models import JobSummary
from tests.operations.processes import Started, program
from tests.system import wait_for

LEASE = 2  # seconds


@contextmanager
def worker(
    folder: Path, application: str = "config", *, processes: int = 2, lease: int = LEASE, at_once: int = 2
) -> Iterator[Started]:
    """A worker, with two processes and a short lease unless others are asked for; a tenant has `at_once` jobs running at most."""
    folder.mkdir()
    options = (
        "--concurrency",
        str(processes),
        "--without-mingle",
        "--without-gossip",
        "--hostname",
        f"{uuid4().hex[:8]}@localhost",
    )
    command = ("celery", "-A", application, "--quiet", "worker", *options)
    with program(folder, *command, process="worker", JOB_LEASE=str(lease), JOBS_AT_ONCE=f"free={at_once}") as started:
        started.wait_until_ready()
        yield started


def state_of(job: Job) -> Job:
    """The job as it is now."""
    return Job.objects.get(pk=job.pk)


def wait_until(job: Job, condition: Callable[[Job], bool], *, timeout: float = 60.0) -> Job:
    """The job, once it is so. Meanwhile jobs are swept for, as beat has it done, with all of them due at once."""
    swept_at = 0.0

    def holds() -> Job | None:
        nonlocal swept_at
        try:
            if time.monotonic() - swept_at > 1:
                swept_at = time.monotonic()
                with use_control():
                    JobSummary.objects.filter(finished_at=None).update(due_at="2000-01-01T00:00:00Z")
                    sweep()
            now = state_of(job)
        except OperationalError:  # a machine that stalls for seconds has this process's own connections cut
            return None
        return now if condition(now) else None

    found: Job = wait_for(holds, timeout=timeout, interval=0.03, what=f"the job's state (now {state_of(job).__dict__})")
    return found


def runner_of(started: Started, job: Job) -> int:
    """The process that has the job."""
    line = started.wait_for_line(event="job_claimed", job=str(job.pk), attempt=job.attempt)
    return int(line["pid"])


def kill_runner(started: Started, job: Job, times: int) -> Job:
    """Kill the process that runs the job so many times, each time after some progress; the job once it has ended."""
    killed = 0
    while killed < times:
        former = state_of(job)
        now = wait_until(
            job, lambda it, was=former, n=killed: it.is_finished or (it.done > was.done and it.attempt > n)
        )
        assert not now.is_finished, "it ended before all kills were made: the check would prove too little"
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner_of(started, now), signal.SIGKILL)
            killed += 1
    return wait_until(job, lambda it: it.is_finished, timeout=120)


def stop_runner(started: Started, job: Job, times: int, *, holding_nothing: bool = False) -> Job:
    """Stop the process that runs the job until another one has it, so many times, and let it go on; the job once it has ended.

    `holding_nothing`: not while it holds the job's row, which where nothing ends its transaction no other could have.
    """
    for number in range(times):
        former = state_of(job)
        now = wait_until(job, lambda it, it_was=former, n=number: it.done > it_was.done and it.attempt > n)
        victim = runner_of(started, now)
        os.kill(victim, signal.SIGSTOP)
        while holding_nothing and is_held(job):
            os.kill(victim, signal.SIGCONT)
            time.sleep(0.01)
            os.kill(victim, signal.SIGSTOP)
        try:
            now = wait_until(job, lambda it, attempt=now.attempt: it.attempt > attempt or it.is_finished)
            assert not now.is_finished, "it ended before it was stopped: the check would prove too little"
        finally:
            os.kill(victim, signal.SIGCONT)
        wait_for(lambda pid=victim: not is_stopped(pid), what="the stopped process goes on")
    return wait_until(job, lambda it: it.is_finished, timeout=120)


def is_held(job: Job) -> bool:
    """Whether somebody holds the job's row."""
    try:
        with transaction.atomic():
            return not Job.objects.select_for_update(nowait=True).filter(pk=job.pk).exists()
    except OperationalError:
        return True


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def events_of(job: Job, action: str) -> int:
    """How many events of that action there are about the job, in the outbox or, where a relay was at work, in the log."""
    waiting = OutboxEvent.objects.filter(document__action=action, document__target__id=str(job.pk))
    ids = {str(event_id) for event_id in waiting.values_list("event_id", flat=True)}
    logged = selectors.event_page(current(), Query(action=action, target=f"job:{job.pk}")).items
    return len(ids | {str(event["id"]) for event in logged})  # one on its way may be in both
