"""A retry beside a cancellation, and beside a worker that comes too late: one order or the other, never something between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from activity.jobs import files, lease
from activity.jobs.errors import JobFailed, JobFinished, JobNotFound, LeaseLost
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.services import job_cancel, job_retry, job_start, jobs_prune
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.at_once import at_once
from tests.jobs.conftest import Lasting, events_of, lasting  # noqa: F401  fixtures
from tests.jobs.kinds import Kinds, Raise, kinds  # noqa: F401  a fixture


def test_who_had_it_before_the_retry_changes_nothing(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: None))
    late = lease.claim(job.pk)
    assert late is not None
    lease.finish(late, Job.State.FAILED, error="No.")
    job_retry(job=job)
    for _ in range(2):  # while it waits, and while somebody else has it
        with pytest.raises(LeaseLost):
            lease.checkpoint(late, done=5, total=5, counts={}, saved={})
        with pytest.raises(LeaseLost):
            lease.finish(late, Job.State.SUCCEEDED)
        lease.claim(job.pk)
    now = Job.objects.get(pk=job.pk)
    assert (now.state, now.attempt, now.done) == ("running", 2, 0)


@pytest.mark.parametrize("round_", range(5))
@pytest.mark.usefixtures("untold_turns")
def test_a_retry_and_a_cancellation_at_once(
    lasting: Lasting, kinds: Kinds, django_db_blocker: DjangoDbBlocker, round_: int  # noqa: F811
) -> None:  # fmt: skip
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(Raise(JobFailed("No."))))
        run_job(job.pk)

    def outcome(act: Callable[..., Job]) -> str:
        try:
            return act(job=job).state
        except JobFinished as refusal:
            return f"refused: {refusal.state}"

    with django_db_blocker.unblock():
        retried, cancelled = at_once(lasting.ref, partial(outcome, job_retry), partial(outcome, job_cancel))
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        state = Job.objects.get(pk=job.pk).state
        actions = [event["action"] for event in events_of(lasting.ref, job.pk)]
    assert (retried, cancelled, state, actions[2:]) in [
        ("queued", "cancelled", "cancelled", ["job.retried", "job.cancelled"]),
        ("queued", "refused: failed", "queued", ["job.retried"]),
    ]


@pytest.mark.usefixtures("untold_turns")
def test_a_retry_of_one_that_is_just_thrown_away_is_refused(
    lasting: Lasting, kinds: Kinds, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    outcomes: list[str] = []
    delete_all = files.delete_all

    def retry(job: Job) -> None:
        with django_db_blocker.unblock(), use_tenant(lasting.ref):
            try:
                outcomes.append(job_retry(job=job).state)
            except JobNotFound:
                outcomes.append("not found")

    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(Raise(JobFailed("No."))))
        run_job(job.pk)
        Job.objects.filter(pk=job.pk).update(finished_at=timezone.now() - timedelta(days=31))
        beside = threading.Thread(target=retry, args=[job])

        def meanwhile(job_id: UUID) -> None:
            beside.start()
            beside.join(0.5)
            delete_all(job_id)

        monkeypatch.setattr(files, "delete_all", meanwhile)
        jobs_prune()
        beside.join(20)
        assert outcomes == ["not found"]
        assert not Job.objects.filter(pk=job.pk).exists()


def test_whoever_asks_for_one_that_was_thrown_away_is_told(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: None))
    Job.objects.filter(pk=job.pk).delete()
    for act in (job_retry, job_cancel):
        with pytest.raises(JobNotFound):
            act(job=job)
