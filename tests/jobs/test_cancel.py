"""A job is cancelled at once while it waits, at its next step while it runs, and never after it has ended."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import TestCase

from accounts.models import User
from activity.jobs.errors import Cancelled
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.services import job_cancel, job_start
from tenants.context import use_tenant
from tenants.models import JobSummary
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.jobs.conftest import events_of, imported, members, run, send
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture
from tests.notes.models import Note

FILE = "email\nann@example.com\n"


def test_a_job_that_waits_is_cancelled_at_once(api: ApiOf, owner: User, admin: User, acme: TenantRef) -> None:
    job_id = send(api(owner), FILE).json()["id"]
    with use_tenant(acme), TestCase.captureOnCommitCallbacks(execute=True):
        answer = api(admin).post(f"/jobs/{job_id}/cancel")
    assert answer.status_code == 200
    assert answer.json()["state"] == "cancelled"
    assert answer.json()["finished_at"] is not None
    started, ended = events_of(acme, job_id)
    assert (started["action"], started["actor"]["name"]) == ("job.started", "Olivia")
    assert (ended["action"], ended["actor"]) == (
        "job.cancelled",
        {"type": "member", "id": str(admin.pk), "name": "Adam"},
    )
    assert ended["data"]["done"] == 0
    assert JobSummary.objects.get(pk=job_id).state == "cancelled"


def test_one_that_was_cancelled_does_nothing_later(api: ApiOf, owner: User, acme: TenantRef) -> None:
    job_id = send(api(owner), FILE).json()["id"]
    with use_tenant(acme), TestCase.captureOnCommitCallbacks(execute=True):
        api(owner).post(f"/jobs/{job_id}/cancel")
    before = members(acme)
    job = run(acme, job_id)
    assert (job.state, job.attempt) == ("cancelled", 0)
    assert members(acme) == before
    assert len(events_of(acme, job_id)) == 2
    with use_tenant(acme):
        assert not default_storage.exists(job.input_file)


def test_one_whose_cancelling_did_not_commit_waits_on_with_its_file(api: ApiOf, owner: User, acme: TenantRef) -> None:
    """With an Idempotency-Key it commits only with the answer: a process that is killed before leaves the job as it was."""
    job_id = send(api(owner), FILE).json()["id"]
    with use_tenant(acme):
        with transaction.atomic():
            job_cancel(job=Job.objects.get(pk=job_id))
            transaction.set_rollback(True)
        job = Job.objects.get(pk=job_id)
        assert job.state == "queued"
        assert default_storage.exists(job.input_file)
    assert JobSummary.objects.get(pk=job_id).state == "queued"
    assert run(acme, job_id).state == "succeeded"


def test_one_that_has_ended_is_409(api: ApiOf, owner: User, acme: TenantRef) -> None:
    job = imported(api(owner), acme, FILE)
    answer = api(owner).post(f"/jobs/{job.pk}/cancel")
    assert answer.status_code == 409
    assert answer["Content-Type"] == "application/problem+json"
    assert api(owner).get(f"/jobs/{job.pk}").json()["state"] == "succeeded"
    assert [event["action"] for event in events_of(acme, job.pk)] == ["job.started", "job.succeeded"]


def test_one_that_is_cancelled_twice_is_409_and_has_one_event(api: ApiOf, owner: User, acme: TenantRef) -> None:
    job_id = send(api(owner), FILE).json()["id"]
    assert api(owner).post(f"/jobs/{job_id}/cancel").status_code == 200
    assert api(owner).post(f"/jobs/{job_id}/cancel").status_code == 409
    assert len(events_of(acme, job_id)) == 2


@pytest.mark.parametrize("person", ["member", "viewer"])
def test_those_who_may_not_are_403(api: ApiOf, owner: User, request: Any, person: str) -> None:
    job_id = send(api(owner), FILE).json()["id"]
    assert api(request.getfixturevalue(person)).post(f"/jobs/{job_id}/cancel").status_code == 403
    assert api(owner).get(f"/jobs/{job_id}").json()["state"] == "queued"


def test_a_token_needs_the_scope_of_jobs_and_the_kinds(api: ApiOf, owner: User) -> None:
    job_id = send(api(owner), FILE).json()["id"]
    for scopes in (["jobs.write"], ["members.write"], ["read"]):
        assert api(owner, scopes=scopes).post(f"/jobs/{job_id}/cancel").status_code == 403
    assert api(owner, scopes=["jobs.write", "members.write"]).post(f"/jobs/{job_id}/cancel").status_code == 200


def test_one_that_runs_ends_at_its_next_step_and_keeps_what_it_did(
    tenant: TenantRef,
    owner: User,
    kinds: Kinds,  # noqa: F811
) -> None:
    def work(run: Run, params: Any) -> None:
        for number in range(3):
            with run.step():
                Note.objects.create(title="cancelled", body=str(number))
                run.done += 1
                run.counts["written"] += 1
                if number == 1:  # as the heartbeat does that has heard of it
                    job_cancel(job=run.job)
                    assert Job.objects.get(pk=run.job.pk).is_cancelling
                    run.stop(Cancelled())

    job = job_start(kind=kinds.add(work))
    job = run(tenant, job.pk)
    assert (job.state, job.done, job.counts) == ("cancelled", 2, {"written": 2})
    assert Note.objects.filter(title="cancelled").count() == 2
    assert [event["action"] for event in events_of(tenant, job.pk)] == ["job.started", "job.cancelled"]


def test_one_that_is_cancelled_as_it_succeeds_is_cancelled_and_leaves_no_file(
    tenant: TenantRef,
    kinds: Kinds,  # noqa: F811
) -> None:
    def work(run: Run, params: Any) -> None:
        with run.writing_result("made.txt") as file:
            file.write(b"made")
        job_cancel(job=run.job)

    job = job_start(kind=kinds.add(work))
    job = run(tenant, job.pk)
    assert (job.state, job.result_file) == ("cancelled", "")
    assert default_storage.listdir(f"jobs/{job.pk}")[1] == []
    assert [event["action"] for event in events_of(tenant, job.pk)] == ["job.started", "job.cancelled"]


def test_one_that_was_cancelled_and_left_ends_with_the_next_claim(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: pytest.fail("it must not run")))
    Job.objects.filter(pk=job.pk).update(state="running", lease_until="2000-01-01T00:00:00Z")
    job_cancel(job=job)
    assert Job.objects.get(pk=job.pk).state == "running"
    assert run(tenant, job.pk).state == "cancelled"
    assert len(events_of(tenant, job.pk)) == 2
