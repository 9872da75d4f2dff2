"""Control knows of every job: by it the sweeper finds those that no hint told of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from accounts.models import User
from activity.jobs import services, summaries, turns
from activity.jobs.errors import JobFailed
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.services import job_retry, job_start, jobs_prune
from activity.jobs.tasks import hint, prune
from tenants.context import use_control, use_tenant
from tenants.ids import new_id
from tenants.lifecycle.offboard import resume_tenant, suspend_tenant
from tenants.models import JobSummary
from tenants.refs import CONTROL, TenantRef
from tests.accounts.conftest import ApiOf
from tests.jobs.conftest import Lasting, imported, lasting, run, send  # noqa: F401  a fixture
from tests.jobs.kinds import Kinds, Raise, kinds  # noqa: F401  a fixture


def make_due(*ids: UUID) -> None:
    JobSummary.objects.filter(pk__in=ids).update(due_at=Now())


def due() -> set[tuple[UUID, str]]:
    with use_control():
        return set(summaries.due())


def test_a_job_is_announced_before_it_is_there(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    save = Job.save

    def note(job: Job, **options: Any) -> None:
        seen.append((JobSummary.objects.filter(pk=job.pk).exists(), Job.objects.filter(pk=job.pk).exists()))
        save(job, **options)

    monkeypatch.setattr(Job, "save", note)
    job = job_start(kind="members.export")
    assert seen == [(True, False)]
    summary = JobSummary.objects.get(pk=job.pk)
    assert (str(summary.tenant_id), summary.kind, summary.state) == (tenant.id, "members.export", "queued")
    assert timezone.now() < summary.due_at < timezone.now() + timedelta(minutes=1)  # its own hint comes first


def test_what_can_not_be_announced_is_not_started(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = new_id()
    summaries.announce(tenant, taken, "members.export")
    monkeypatch.setattr(services, "new_id", lambda: taken)
    with pytest.raises(DatabaseError) as refused:
        job_start(kind="members.export")
    assert isinstance(refused.value, IntegrityError)
    assert not Job.objects.exists()


def test_a_summary_is_told_how_its_job_ended(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job = imported(api(admin), acme, "email\nann@example.com\nbad\n")
    summary = JobSummary.objects.get(pk=job.pk)
    assert (summary.state, summary.done, summary.finished_at) == ("succeeded", 2, job.finished_at)
    failed = imported(api(admin), acme, 'email\n"x\n')
    assert JobSummary.objects.get(pk=failed.pk).error == failed.error != ""


def test_what_runs_is_due_again_and_again_and_what_has_ended_is_not(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job_id = UUID(send(api(admin), "email\n").json()["id"])
    make_due(job_id)
    assert (job_id, acme.id) not in due()  # what is queued waits for its turn
    JobSummary.objects.filter(pk=job_id).update(state="running")
    assert (job_id, acme.id) in due()
    assert (job_id, acme.id) not in due()
    make_due(job_id)
    assert (job_id, acme.id) in due()
    run(acme, job_id)
    make_due(job_id)
    assert (job_id, acme.id) not in due()


def test_jobs_of_a_suspended_tenant_wait_until_it_is_resumed(
    api: ApiOf, admin: User, acme: TenantRef, globex: TenantRef, stranger: User
) -> None:
    mine = UUID(send(api(admin), "email\n").json()["id"])
    theirs = UUID(send(api(stranger, globex), "email\n").json()["id"])
    JobSummary.objects.filter(pk__in=[mine, theirs]).update(state="running")
    suspend_tenant(acme)
    try:
        make_due(mine, theirs)
        assert {(mine, acme.id), (theirs, globex.id)} & due() == {(theirs, globex.id)}
    finally:
        resume_tenant(acme)
    assert (mine, acme.id) in due()


def test_a_job_of_control_is_controls(tenants: dict[str, TenantRef], kinds: Kinds) -> None:  # noqa: F811
    with use_control():
        job = job_start(kind=kinds.add(lambda run, params: None))
        JobSummary.objects.filter(pk=job.pk).update(state="running")
        make_due(job.pk)
    assert (job.pk, CONTROL.id) in due()
    with use_control():
        assert run_job(job.pk) == "succeeded"
        assert JobSummary.objects.get(pk=job.pk).state == "succeeded"


def test_nothing_to_hint_at_is_no_hint() -> None:
    assert hint([]) == 0


@pytest.mark.parametrize(("minutes", "stays"), [(1, True), (59, True), (61, False)])
def test_a_summary_without_a_job_goes_when_no_request_can_still_bring_it(
    tenant: TenantRef, minutes: int, stays: bool
) -> None:
    job_id = new_id()
    summaries.announce(tenant, job_id, "members.export")
    JobSummary.objects.filter(pk=job_id).update(created_at=Now() - timedelta(minutes=minutes))
    assert run_job(job_id) is None
    assert JobSummary.objects.filter(pk=job_id).exists() is stays


def test_an_old_summary_stays_while_its_job_is_there(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    """The control of the test above."""
    job = job_start(kind=kinds.add(lambda run, params: None))
    JobSummary.objects.filter(pk=job.pk).update(created_at=Now() - timedelta(days=9))
    assert run_job(job.pk) == "succeeded"
    assert run_job(job.pk) is None
    assert JobSummary.objects.filter(pk=job.pk).exists()


def test_a_summary_that_missed_the_end_is_told_by_the_next_sweep(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: None))
    run_job(job.pk)
    JobSummary.objects.filter(pk=job.pk).update(state="running", finished_at=None)
    assert run_job(job.pk) is None
    assert JobSummary.objects.get(pk=job.pk).state == "succeeded"


def test_old_jobs_are_thrown_away_with_their_summaries(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    old, recent, waits = (job_start(kind=kinds.add(lambda run, params: None)) for _ in range(3))
    for job, days in ((old, 31), (recent, 29)):
        run_job(job.pk)
        Job.objects.filter(pk=job.pk).update(finished_at=Now() - timedelta(days=days))
    Job.objects.filter(pk=waits.pk).update(created_at=Now() - timedelta(days=99))
    assert jobs_prune() == 1
    assert set(Job.objects.values_list("pk", flat=True)) == {recent.pk, waits.pk}
    assert not JobSummary.objects.filter(pk=old.pk).exists()
    assert JobSummary.objects.filter(pk__in=[recent.pk, waits.pk]).count() == 2


def test_the_other_tenants_jobs_are_not_pruned(acme: TenantRef, globex: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    with use_tenant(acme):
        job = job_start(kind=kinds.add(lambda run, params: None))
        run_job(job.pk)
        Job.objects.filter(pk=job.pk).update(finished_at=Now() - timedelta(days=31))
    with use_tenant(globex):
        assert jobs_prune() == 0
    with use_tenant(acme):
        assert Job.objects.filter(pk=job.pk).exists()


def test_more_than_a_batch_of_old_jobs_goes_in_a_day(
    tenant: TenantRef, kinds: Kinds, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr(services, "PRUNED_AT_ONCE", 2)
    kind = kinds.add(lambda run, params: None)
    for _ in range(5):
        run_job(job_start(kind=kind).pk)
    Job.objects.update(finished_at=Now() - timedelta(days=31))
    assert prune.run() == 5
    assert not Job.objects.exists()


# --- What control has lost ---------------------------------------------------------------------------------------------------


def lose(job: Job) -> None:
    """Control fails over to a replica that didn't have it yet."""
    JobSummary.objects.filter(pk=job.pk).delete()


def end(job: Job) -> None:
    """Somebody who was late tells of the attempt before."""
    JobSummary.objects.filter(pk=job.pk).update(state="failed", finished_at=Now(), error="No.")


@pytest.mark.parametrize("happens", [lose, end])
@pytest.mark.parametrize("state", ["queued", "running"])
def test_an_unfinished_job_that_control_does_not_know_is_found_by_the_daily_upkeep(
    tenant: TenantRef,
    kinds: Kinds,  # noqa: F811
    happens: Callable[[Job], None],
    state: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services, "MENDED_AT_ONCE", 1)
    kind = kinds.add(lambda run, params: None)
    lost, known, done = (job_start(kind=kind) for _ in range(3))
    run_job(done.pk)
    Job.objects.filter(pk=lost.pk).update(state=state, lease_until="2000-01-01T00:00:00Z")
    happens(lost)
    before = JobSummary.objects.filter(pk__in=[known.pk, done.pk]).values().order_by("pk")
    untouched = list(before)
    prune.run()
    summary = JobSummary.objects.get(pk=lost.pk)
    assert (summary.state, str(summary.tenant_id), summary.kind, summary.error) == ("queued", tenant.id, kind, "")
    assert summary.finished_at is None
    assert list(before.all()) == untouched
    assert services.jobs_mend() == 0
    with use_control():
        assert turns.is_anybody_waiting()
        while (taken := turns.take()) is not None and taken.job_id != lost.pk:
            pass
    assert taken is not None


def test_who_is_late_changes_nothing_of_what_another_worker_runs(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    """It had ended the attempt before, and the job was tried again meanwhile."""
    job = job_start(kind=kinds.add(Raise(JobFailed("No."))))
    run_job(job.pk)
    failed = Job.objects.get(pk=job.pk)
    JobSummary.objects.filter(pk=job.pk).update(state="running", worker="another 1", finished_at=None)
    summaries.tell(failed, of_running=True)
    assert JobSummary.objects.get(pk=job.pk).state == "running"
    JobSummary.objects.filter(pk=job.pk).update(worker="")  # this one
    summaries.tell(failed, of_running=True)
    assert JobSummary.objects.get(pk=job.pk).state == "failed"


@pytest.mark.usefixtures("untold_turns")
def test_a_retry_that_somebody_found_before_it_had_committed_waits_for_its_turn(
    lasting: Lasting, kinds: Kinds, django_db_blocker: DjangoDbBlocker  # noqa: F811
) -> None:  # fmt: skip
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(Raise(JobFailed("No."))))
        run_job(job.pk)
        with transaction.atomic():
            job_retry(job=job)
            end(job)  # what a worker says that sees no more than what has committed
        summary = JobSummary.objects.get(pk=job.pk)
        assert (summary.state, summary.finished_at, summary.error) == ("queued", None, "")
