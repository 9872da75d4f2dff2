"""A job after a job: it runs when that one has succeeded, and is cancelled with the reason when it can't succeed any more."""

from __future__ import annotations

import inspect
import sys
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import TestCase
from django.utils import timezone

from accounts.models import User
from activity.jobs import followers, lease, services
from activity.jobs.errors import JobFailed
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.services import job_cancel, job_retry, job_start, jobs_prune
from tenants.context import use_tenant
from tenants.models import JobSummary
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import events_of
from tests.jobs.kinds import Kinds, Raise, kinds  # noqa: F401  a fixture


def state(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def is_due(job: Job) -> bool:
    return JobSummary.objects.get(pk=job.pk).due_at <= timezone.now()


@pytest.fixture
def good(kinds: Kinds) -> str:  # noqa: F811
    return kinds.add(lambda run, params: None)


@pytest.fixture
def bad(kinds: Kinds) -> str:  # noqa: F811
    return kinds.add(Raise(JobFailed("No.")))


def test_it_waits_until_the_one_before_has_succeeded(tenant: TenantRef, good: str) -> None:
    first = job_start(kind=good)
    second = job_start(kind=good, after=first)
    assert run_job(second.pk) is None
    now = Job.objects.get(pk=second.pk)
    assert (now.state, now.attempt) == ("queued", 0)
    assert not is_due(second)  # it takes nobody's turn meanwhile
    assert run_job(first.pk) == "succeeded"
    assert is_due(second)
    assert run_job(second.pk) == "succeeded"


def test_without_the_condition_of_the_claim_it_runs_too_soon(
    tenant: TenantRef, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(lease, "_CLAIM", lease._CLAIM.replace("after_id IS NULL", "true"))
    second = job_start(kind=good, after=job_start(kind=good))
    assert run_job(second.pk) == "succeeded"


def test_when_the_one_before_fails_all_that_follow_are_cancelled(tenant: TenantRef, good: str, bad: str) -> None:
    first = job_start(kind=bad)
    second = job_start(kind=good, after=first)
    third = job_start(kind=good, after=second)
    assert run_job(first.pk) == "failed"
    second, third = Job.objects.get(pk=second.pk), Job.objects.get(pk=third.pk)
    assert (second.state, third.state) == ("cancelled", "cancelled")
    assert second.error == f"It was to run after the job A test ({first.pk}), which failed."
    assert third.error == f"It was to run after the job A test ({second.pk}), which was cancelled."
    event = events_of(tenant, second.pk)[-1]
    assert (event["action"], event["actor"]["type"]) == ("job.cancelled", "system")
    assert event["data"]["reason"] == second.error
    assert JobSummary.objects.get(pk=second.pk).state == "cancelled"
    assert second.lines.last().sentence == f"It was cancelled. {second.error}"


def test_when_the_one_before_is_cancelled_it_is_too(tenant: TenantRef, good: str) -> None:
    first = job_start(kind=good)
    second = job_start(kind=good, after=first)
    with TestCase.captureOnCommitCallbacks(execute=True):
        job_cancel(job=first)
    assert state(second) == "cancelled"


def test_a_chain_of_any_length_is_cancelled(tenant: TenantRef, good: str) -> None:
    first = before = job_start(kind=good)
    for _ in range(sys.getrecursionlimit() // 10):
        before = job_start(kind=good, after=before)
    limit = sys.getrecursionlimit()
    Job.objects.filter(pk=first.pk).update(state="cancelled")
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        followers.settle_all(Job.objects.get(pk=first.pk))
    finally:
        sys.setrecursionlimit(limit)
    assert state(before) == "cancelled"
    assert not Job.objects.filter(state="queued").exists()


def test_whoever_cancels_waits_for_a_part_of_many_followers_and_the_sweep_finds_the_others(
    tenant: TenantRef, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "SETTLED_AT_ONCE", 3)
    first = before = job_start(kind=good)
    for _ in range(5):
        before = job_start(kind=good, after=before)
    with TestCase.captureOnCommitCallbacks(execute=True):
        job_cancel(job=first)
    assert Job.objects.filter(state="cancelled").count() == 4
    (next_one, _last) = Job.objects.filter(state="queued").order_by("created_at", "id")
    assert run_job(next_one.pk) is None  # as its turn comes, once it is due
    assert not Job.objects.filter(state="queued").exists()


def test_one_that_waits_is_cancelled_by_itself(tenant: TenantRef, good: str) -> None:
    first = job_start(kind=good)
    second = job_start(kind=good, after=first)
    job_cancel(job=second)
    assert (state(first), state(second)) == ("queued", "cancelled")


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "cancelled"])
def test_what_a_kill_left_unsettled_is_found_by_the_sweep(
    tenant: TenantRef, good: str, bad: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job_start(kind=good if outcome == "succeeded" else bad)
    second = job_start(kind=good, after=first)
    with monkeypatch.context() as killed:  # between the end of the first and what follows from it
        killed.setattr(followers, "settle_all", lambda former, **_: None)
        if outcome == "cancelled":
            with TestCase.captureOnCommitCallbacks(execute=True):
                job_cancel(job=first)
        else:
            run_job(first.pk)
    assert (state(first), state(second)) == (outcome, "queued")
    assert run_job(second.pk) == ("succeeded" if outcome == "succeeded" else None)  # as its turn comes, once it is due
    assert state(second) == ("succeeded" if outcome == "succeeded" else "cancelled")


def test_after_one_that_has_ended_it_runs_or_is_cancelled_at_once(tenant: TenantRef, good: str, bad: str) -> None:
    succeeded, failed = job_start(kind=good), job_start(kind=bad)
    run_job(succeeded.pk)
    run_job(failed.pk)
    runs, not_any_more = job_start(kind=good, after=succeeded), job_start(kind=good, after=failed)
    for job in (runs, not_any_more):  # what happens on commit
        followers.settle(job)
    assert is_due(runs)
    assert run_job(runs.pk) == "succeeded"
    assert state(not_any_more) == "cancelled"


def test_one_that_is_tried_again_meanwhile_keeps_its_followers(tenant: TenantRef, good: str, bad: str) -> None:
    first = job_start(kind=bad)
    run_job(first.pk)
    seen = Job.objects.get(pk=first.pk)
    second = job_start(kind=good)
    Job.objects.filter(pk=second.pk).update(after=first)
    job_retry(job=seen)
    followers._cancel(second, seen)  # by what somebody saw before it was tried again
    assert state(second) == "queued"


def test_one_that_is_waited_for_is_kept(tenant: TenantRef, good: str) -> None:
    first = job_start(kind=good)
    second = job_start(kind=good, after=first)
    Job.objects.filter(pk=first.pk).update(state="succeeded", finished_at=timezone.now() - timedelta(days=31))
    jobs_prune()
    assert Job.objects.filter(pk=first.pk).exists()
    Job.objects.filter(pk=second.pk).update(state="succeeded", finished_at=timezone.now())
    jobs_prune()
    assert not Job.objects.filter(pk=first.pk).exists()
    assert Job.objects.get(pk=second.pk).after_id is None


def test_by_the_api_and_on_its_page(
    api: ApiOf, signed_in: SignedIn, owner: User, stranger: User, acme: TenantRef, globex: TenantRef
) -> None:
    first = api(owner).post("/jobs", {"kind": "members.export"}).json()
    body = {"kind": "members.export", "after": first["id"]}
    second = api(owner).post("/jobs", body).json()
    assert (second["state"], second["after"]) == ("queued", first["id"])
    text = signed_in(owner).get(f"/jobs/{second['id']}").content.decode()
    assert "Waits for" in text
    assert f"/jobs/{first['id']}" in text
    for answer in (
        api(stranger, globex).post("/jobs", body),  # another tenant's is none
        api(owner).post("/jobs", {**body, "after": str(uuid4())}),
        api(owner).post("/jobs", {**body, "after": "x"}),
    ):
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["after"])
    with use_tenant(acme):
        assert run_job(Job.objects.get(pk=first["id"]).pk) == "succeeded"
