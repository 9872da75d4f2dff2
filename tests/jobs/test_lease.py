"""Of two that want a job one has it, and who has lost it writes nothing more."""

from __future__ import annotations

from typing import Any

import pytest

from activity.jobs import lease
from activity.jobs.errors import Cancelled, HandedBack, LeaseLost
from activity.jobs.lines import Line
from activity.jobs.models import Job, JobProblem
from activity.jobs.run import Run
from activity.jobs.services import job_cancel, job_start
from tenants.refs import TenantRef
from tests.jobs.conftest import NOBODY, events_of
from tests.notes.models import Note

PAST = "2000-01-01T00:00:00Z"


@pytest.fixture
def job(tenant: TenantRef) -> Job:
    return job_start(kind="notes.write", params={"title": "lease", "count": 1})


def claimed(job: Job) -> Job:
    found = lease.claim(job.pk)
    assert found is not None
    return found


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until=PAST)


@pytest.fixture
def lost(job: Job) -> Job:
    """The first attempt, whose lease ran out and whose job a second one has."""
    first = claimed(job)
    expire(first)
    assert claimed(job).attempt == 2
    return first


def note(job: Job, **changes: Any) -> None:
    lease.checkpoint(job, **{"done": 5, "total": 9, "counts": {"written": 5}, "saved": {"next": 5}, **changes})


def test_a_claim_is_had_once(job: Job) -> None:
    first = claimed(job)
    assert (first.state, first.attempt, first.stalls) == ("running", 1, 1)
    assert first.started_at is not None
    assert lease.claim(job.pk) is None


def test_a_lease_that_ran_out_can_be_claimed(job: Job) -> None:
    first = claimed(job)
    expire(job)
    second = claimed(job)
    assert (second.attempt, second.started_at) == (2, first.started_at)
    assert lease.claim(job.pk) is None


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_is_not_claimed(job: Job, state: str) -> None:
    Job.objects.filter(pk=job.pk).update(state=state, lease_until=PAST)
    assert lease.claim(job.pk) is None


def test_a_job_that_is_not_there_is_not_claimed(tenant: TenantRef) -> None:
    assert lease.claim(NOBODY) is None


def test_renewing_and_noting_hold_the_lease(job: Job) -> None:
    mine = claimed(job)
    for hold in (lambda: lease.renew(mine), lambda: note(mine)):
        expire(mine)
        hold()
        assert lease.claim(job.pk) is None


def test_looking_holds_nothing(job: Job) -> None:
    """The control of the test above."""
    mine = claimed(job)
    expire(mine)
    assert lease.look(mine) is False
    assert lease.claim(job.pk) is not None


def test_who_has_the_job_writes(job: Job) -> None:
    """The control of the tests below."""
    mine = claimed(job)
    note(mine)
    now = Job.objects.get(pk=job.pk)
    assert (now.done, now.total, now.counts, now.checkpoint, now.stalls) == (5, 9, {"written": 5}, {"next": 5}, 0)
    assert lease.finish(mine, Job.State.SUCCEEDED).state == "succeeded"


def test_who_has_lost_it_notes_nothing(lost: Job) -> None:
    before = Job.objects.filter(pk=lost.pk).values().get()
    with pytest.raises(LeaseLost):
        note(lost)
    for hold in (lease.renew, lease.look):
        with pytest.raises(LeaseLost):
            hold(lost)
    assert Job.objects.filter(pk=lost.pk).values().get() == before


@pytest.mark.parametrize("state", [Job.State.SUCCEEDED, Job.State.FAILED, Job.State.CANCELLED])
def test_who_has_lost_it_ends_nothing(lost: Job, tenant: TenantRef, state: Job.State) -> None:
    with pytest.raises(LeaseLost):
        lease.finish(lost, state)
    assert Job.objects.get(pk=lost.pk).state == "running"
    assert len(events_of(tenant, lost.pk)) == 1


@pytest.mark.parametrize("blameless", [True, False])
def test_who_has_lost_it_gives_nothing_back(lost: Job, blameless: bool) -> None:
    assert lease.release(lost, blameless=blameless, line=Line("Given back.")) is False
    assert (Job.objects.get(pk=lost.pk).state, Job.objects.get(pk=lost.pk).attempt) == ("running", 2)


def test_a_step_of_who_has_lost_it_is_rolled_back(lost: Job) -> None:
    run = Run(lost)
    with pytest.raises(LeaseLost), run.step():
        Note.objects.create(title="lease", body="late")
        run.problem(2, "email", "x", "late")
        run.done = 7
        run.counts["written"] += 7
        run.saved = {"next": 7}
    assert not Note.objects.filter(title="lease").exists()
    assert not JobProblem.objects.filter(job=lost).exists()
    assert (run.done, run.counts, run.saved) == (0, {}, {})


def test_a_step_of_who_has_it_commits_with_its_progress(job: Job) -> None:
    """The control of the test above."""
    run = Run(claimed(job))
    with run.step():
        Note.objects.create(title="lease", body="in time")
        run.problem(2, "email", "x", "in time")
        run.done = 7
        run.saved = {"next": 7}
    assert Note.objects.filter(title="lease").count() == 1
    assert JobProblem.objects.get(job=job).reason == "in time"
    now = Job.objects.get(pk=job.pk)
    assert (now.done, now.checkpoint) == (7, {"next": 7})
    assert Run(now).saved == {"next": 7}  # from where a next attempt goes on


def test_a_report_ends_and_says_so(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activity.jobs.run.MOST_PROBLEMS", 5)
    attempt = Run(claimed(job))

    def refuse(*rows: int) -> None:
        for row in rows:
            attempt.problem(row, "email", "x", "bad")

    with attempt.step():
        refuse(2, 3)
    with pytest.raises(ZeroDivisionError), attempt.step():
        refuse(4, 5, 6, 7)
        raise ZeroDivisionError
    attempt = Run(Job.objects.get(pk=job.pk))  # the next attempt counts what is there
    with attempt.step():
        refuse(4, 6, 5, 7)
    with attempt.step():
        refuse(8)
    report = JobProblem.objects.filter(job=job).order_by("row", "id").values_list("row", "reason")
    assert [row for row, _ in report] == [2, 3, 4, 5, 6, 7]
    assert report[5][1] == "The report ends here, with 5 lines. Mend these rows and send the file again."


def test_a_step_that_fails_keeps_nothing_and_the_next_begins_where_it_did(job: Job) -> None:
    run = Run(claimed(job))
    with pytest.raises(ZeroDivisionError), run.step():
        Note.objects.create(title="lease", body="failed")
        run.problem(2, "email", "x", "failed")
        run.done += 1
        raise ZeroDivisionError
    with run.step():
        run.done += 1
    assert Job.objects.get(pk=job.pk).done == 1
    assert not Note.objects.filter(title="lease").exists()
    assert not JobProblem.objects.filter(job=job).exists()


def test_a_run_that_was_told_to_stop_begins_no_step(job: Job) -> None:
    run = Run(claimed(job))
    run.stop(HandedBack(reason="first"))
    run.stop(Cancelled())  # the first reason counts
    with pytest.raises(HandedBack), run.step():
        pytest.fail("it must not begin")
    with pytest.raises(HandedBack):
        run.report()


def test_a_cancelled_job_does_not_succeed_but_is_still_this_attempts(job: Job) -> None:
    mine = claimed(job)
    job_cancel(job=job)
    assert lease.look(mine) is True
    assert lease.renew(mine) is True
    with pytest.raises(Cancelled):
        lease.finish(mine, Job.State.SUCCEEDED)
    assert lease.finish(mine, Job.State.CANCELLED).state == "cancelled"


def test_a_job_that_was_given_back_waits_for_the_next(job: Job) -> None:
    mine = claimed(job)
    note(mine)
    assert lease.release(mine, blameless=True, line=Line("Given back.")) is True
    now = Job.objects.get(pk=job.pk)
    assert (now.state, now.lease_until, now.done) == ("queued", None, 5)
    assert claimed(job).attempt == 2
    with pytest.raises(LeaseLost):
        note(mine)
