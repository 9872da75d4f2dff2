"""A failed job is tried again by hand: once, by whoever may, from where it was."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db.models.functions import Now
from pytest_django import DjangoDbBlocker

from accounts.models import User
from activity.jobs import summaries, turns
from activity.jobs.errors import JobFailed, JobNotFailed
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.runner import run_job
from activity.jobs.services import job_retry, job_start
from tenants.context import use_control, use_tenant
from tenants.models import JobSummary, JobTurn
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.at_once import at_once
from tests.jobs.conftest import Lasting, events_of, imported, lasting, run  # noqa: F401  fixtures
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture
from tests.notes.models import Note


class FailsAt:
    """Writes notes, a step each, and fails at one of them as long as `is_broken`."""

    def __init__(self, number: int) -> None:
        self.number, self.is_broken = number, True

    def __call__(self, run: Run, params: Any) -> None:
        for number in range(run.saved.get("next", 0), 5):
            if number == self.number and self.is_broken:
                raise JobFailed("The printer is out of paper.")
            with run.step():
                Note.objects.create(title="retried", body=str(number))
                run.done = number + 1
                run.saved = {"next": number + 1}


def test_it_goes_on_from_where_it_was(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    kind = FailsAt(3)
    job = job_start(kind=kinds.add(kind))
    assert run_job(job.pk) == "failed"
    kind.is_broken = False
    job = job_retry(job=Job.objects.get(pk=job.pk))
    assert (job.state, job.done, job.error, job.finished_at) == ("queued", 3, "", None)
    assert run_job(job.pk) == "succeeded"
    bodies = Note.objects.filter(title="retried").values_list("body", flat=True)
    assert sorted(bodies) == ["0", "1", "2", "3", "4"]
    assert [event["action"] for event in events_of(tenant, job.pk)] == [
        "job.started", "job.failed", "job.retried", "job.succeeded",
    ]  # fmt: skip
    assert JobSummary.objects.get(pk=job.pk).state == "succeeded"


def test_the_sweep_finds_one_that_was_retried_by_a_process_that_died(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    """What follows the commit doesn't happen, which a test's transaction sees to anyway."""
    job = job_start(kind=kinds.add(FailsAt(0)))
    run_job(job.pk)
    job_retry(job=job)
    JobSummary.objects.filter(pk=job.pk, state="queued", finished_at=None).update(due_at=Now() - timedelta(seconds=1))
    with use_control():
        JobTurn.objects.all().delete()
        JobSummary.objects.exclude(pk=job.pk).delete()
        turns.repair()
        taken = turns.take()
    assert taken == turns.Taken(job.pk, tenant.id)


def test_who_ended_it_late_says_nothing_of_one_that_was_retried_since(
    tenant: TenantRef, kinds: Kinds, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    tell = summaries.tell

    def retried_meanwhile(job: Job, **options: Any) -> None:
        if job.state == Job.State.FAILED:
            job_retry(job=job)
        tell(job, **options)

    monkeypatch.setattr(summaries, "tell", retried_meanwhile)
    job = job_start(kind=kinds.add(FailsAt(0)))
    run_job(job.pk)
    summary = JobSummary.objects.get(pk=job.pk)
    assert (summary.state, summary.finished_at) == ("queued", None)


def test_one_that_was_set_aside_has_three_attempts_again(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: None))
    Job.objects.filter(pk=job.pk).update(stalls=3, attempt=3)
    assert run_job(job.pk) == "failed"
    job = Job.objects.get(pk=job.pk)
    assert job.is_quarantined
    assert events_of(tenant, job.pk)[-1]["data"]["quarantined"] is True
    job = job_retry(job=job)
    assert (job.stalls, job.is_quarantined) == (0, False)
    assert run_job(job.pk) == "succeeded"


def test_the_upload_of_a_failed_job_is_there_for_it(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job = imported(api(admin), acme, 'email\n"x\n')
    assert job.state == "failed"
    with use_tenant(acme):
        assert default_storage.exists(job.input_file)
    answer = api(admin).post(f"/jobs/{job.pk}/retry")
    assert (answer.status_code, answer.json()["state"], answer.json()["quarantined"]) == (202, "queued", False)
    assert run(acme, job.pk).state == "failed"  # the file is what it was


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "cancelled"])
def test_only_failed_ones_are_tried_again(
    api: ApiOf, owner: User, acme: TenantRef, kinds: Kinds, state: str  # noqa: F811
) -> None:  # fmt: skip
    with use_tenant(acme):
        job = job_start(kind=kinds.add(lambda run, params: None))
        Job.objects.filter(pk=job.pk).update(state=state)
    answer = api(owner).post(f"/jobs/{job.pk}/retry")
    assert answer.status_code == 409
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == f"Only a job that has failed can be tried again; this one is {state}."
    with use_tenant(acme):
        assert Job.objects.get(pk=job.pk).state == state


def test_whoever_may_not_start_it_may_not_retry_it(
    api: ApiOf, viewer: User, stranger: User, acme: TenantRef, globex: TenantRef, kinds: Kinds  # noqa: F811
) -> None:  # fmt: skip
    with use_tenant(acme):
        job = job_start(kind=kinds.add(FailsAt(0)))
        run_job(job.pk)
    assert api(viewer).post(f"/jobs/{job.pk}/retry").status_code == 403
    assert api(stranger, globex).post(f"/jobs/{job.pk}/retry").status_code == 404
    with use_tenant(acme):
        assert Job.objects.get(pk=job.pk).state == "failed"


def test_its_page_says_that_it_was_set_aside_and_tries_it_again(
    signed_in: SignedIn, owner: User, acme: TenantRef, kinds: Kinds  # noqa: F811
) -> None:  # fmt: skip
    with use_tenant(acme):
        job = job_start(kind=kinds.add(lambda run, params: None))
        Job.objects.filter(pk=job.pk).update(stalls=3)
        run_job(job.pk)
    browser = signed_in(owner)
    text = browser.get(f"/jobs/{job.pk}").content.decode()
    assert "failed, set aside" in text
    assert "Try it again" in text
    assert browser.post(f"/jobs/{job.pk}/retry").status_code == 302
    text = browser.get(f"/jobs/{job.pk}").content.decode()
    assert "Try it again" not in text
    again = browser.post(f"/jobs/{job.pk}/retry", follow=True).content.decode()
    assert "Only a job that has failed can be tried again" in again


@pytest.mark.usefixtures("untold_turns")
def test_of_two_at_once_one_retries_it(
    lasting: Lasting, kinds: Kinds, django_db_blocker: DjangoDbBlocker  # noqa: F811
) -> None:  # fmt: skip
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(FailsAt(0)))
        run_job(job.pk)

    def retry() -> str:
        try:
            return job_retry(job=job).state
        except JobNotFailed as refusal:
            return refusal.state

    with django_db_blocker.unblock():
        assert at_once(lasting.ref, *[retry] * 4) == ["queued"] * 4
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        assert [event["action"] for event in events_of(lasting.ref, job.pk)].count("job.retried") == 1
