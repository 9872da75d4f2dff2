"""A worker is killed, and stopped for longer than its lease, in mid-job: each note is written once, and the job succeeds once.

The same with the fence or the checkpoint taken out must fail, or the check would prove nothing. One or three faults here;
`make scenarios` makes five and twenty.
"""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest

from activity.jobs.models import Job
from activity.jobs.services import job_cancel, job_start
from tenants.refs import TenantRef
from tests.faults.mid_job import events_of, kill_runner, state_of, stop_runner, wait_until, worker
from tests.notes.models import Note
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")


def start(count: int, pause: float = 0.02) -> Job:
    return job_start(kind="notes.write", params={"title": uuid4().hex, "count": count, "pause": pause})


def written(job: Job) -> list[int]:
    return sorted(int(body) for body in Note.objects.filter(title=job.params["title"]).values_list("body", flat=True))


def check(job: Job) -> None:
    assert job.state == "succeeded", job.error
    assert written(job) == list(range(job.params["count"]))
    assert job.done == job.params["count"] == job.counts["written"]
    assert events_of(job, "job.started") == events_of(job, "job.succeeded") == 1


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.scenario)])
def test_kills_of_the_worker_leave_each_note_once(acme_entered: TenantRef, tmp_path: Path, times: int) -> None:
    with worker(tmp_path / "worker") as started:
        job = kill_runner(started, start(25 * (times + 1)), times)
    check(job)
    assert job.attempt >= times + 1


def test_without_the_checkpoint_a_kill_leaves_notes_twice(acme_entered: TenantRef, tmp_path: Path) -> None:
    """The control of the test above."""
    with worker(tmp_path / "worker", "tests.faults.without_checkpoint") as started:
        job = kill_runner(started, start(50), 1)
    with pytest.raises(AssertionError):
        check(job)
    assert len(written(job)) > len(set(written(job)))


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.scenario)])
def test_a_worker_that_was_stopped_changes_nothing_when_it_wakes_up(
    acme_entered: TenantRef, tmp_path: Path, times: int
) -> None:
    with worker(tmp_path / "worker") as started:
        job = stop_runner(started, start(60 * (times + 1)), times)
        lost = wait_for(lambda: started.lines("job_lease_lost"), what="the stopped one learns that it lost the job")
    check(job)
    assert len(lost) >= 1


def test_without_the_fence_a_worker_that_was_stopped_writes_on(acme_entered: TenantRef, tmp_path: Path) -> None:
    """The control of the test above."""
    with worker(tmp_path / "worker", "tests.faults.without_fencing") as started:
        job = stop_runner(started, start(120), 1, holding_nothing=True)
        wait_for(lambda: len(started.lines("job_ended")) >= 2, timeout=30, what="both attempts end")
        job = state_of(job)
    with pytest.raises(AssertionError):
        check(job)
    assert len(written(job)) > len(set(written(job)))


def test_sigterm_hands_a_job_back_and_the_next_worker_goes_on(acme_entered: TenantRef, tmp_path: Path) -> None:
    job = start(80, pause=0.05)
    with worker(tmp_path / "first") as first:
        wait_until(job, lambda it: it.done > 3)
        code, seconds = first.terminate()
        handed_back = first.log.read_text().count('"job_handed_back"')  # Celery says its good-bye in prose
    assert code == 0
    assert seconds < 8
    assert handed_back == 1
    now = state_of(job)
    assert now.state == "queued"
    assert 3 < now.done < 80
    assert now.stalls == 0
    with worker(tmp_path / "second"):
        job = wait_until(job, lambda it: it.is_finished)
    check(job)
    assert job.attempt == 2


def test_cancel_acts_within_two_seconds(acme_entered: TenantRef, tmp_path: Path) -> None:
    job = start(1000, pause=0.05)
    with worker(tmp_path / "worker"):
        wait_until(job, lambda it: it.done > 3)
        asked_at = time.monotonic()
        job_cancel(job=state_of(job))
        job = wait_until(job, lambda it: it.is_finished)
        took = time.monotonic() - asked_at
    assert job.state == "cancelled"
    assert took < 2
    assert len(written(job)) == job.done  # what it did stays, and is counted
    assert events_of(job, "job.cancelled") == 1


def test_a_job_whose_process_dies_each_time_is_set_aside(acme_entered: TenantRef, tmp_path: Path) -> None:
    """Scenario 24: three attempts without progress, and then a sentence; others run."""
    dying, other = job_start(kind="notes.die"), start(3)
    with worker(tmp_path / "worker"):
        dying = wait_until(dying, lambda it: it.is_finished, timeout=120)
        other = wait_until(other, lambda it: it.is_finished)
        later = wait_until(start(3), lambda it: it.is_finished)
    assert dying.state == "failed"
    assert "started 3 times" in dying.error
    assert dying.is_quarantined
    assert dying.attempt == 4  # the last claim only said so
    check(other)
    check(later)


def test_without_the_limit_it_goes_on_killing_workers(acme_entered: TenantRef, tmp_path: Path) -> None:
    """The control of the test above."""
    dying = job_start(kind="notes.die")
    with worker(tmp_path / "worker", "tests.faults.without_limit"):
        dying = wait_until(dying, lambda it: it.is_finished or it.attempt > 5, timeout=120)
    assert not dying.is_finished
    assert job_cancel(job=dying).cancelled_by
