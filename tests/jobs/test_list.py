"""`GET /jobs` has every job once, newest first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from accounts.models import User
from activity.jobs.models import Job
from activity.jobs.services import job_start
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf

COUNT = 7


@pytest.fixture
def started(acme: TenantRef) -> list[str]:
    """Seven jobs, the newest first; two pairs of them in the same moment."""
    with use_tenant(acme):
        jobs = [job_start(kind="members.export") for _ in range(COUNT)]
        for minutes, job in zip([9, 8, 8, 7, 6, 6, 5], jobs, strict=True):
            Job.objects.filter(pk=job.pk).update(created_at=F("created_at") - timedelta(minutes=minutes))
        return [str(job.pk) for job in reversed(jobs)]


def ids(api: Api, query: str = "") -> list[str]:
    return [item["id"] for item in api.get(f"/jobs{query}").json()["items"]]


@pytest.mark.parametrize("limit", [1, 2, 3, COUNT])
def test_pages_hold_every_job_once(api: ApiOf, viewer: User, started: list[str], limit: int) -> None:
    asking, seen, query = api(viewer), [], f"?limit={limit}"
    for _ in range(COUNT + 1):
        page = asking.get(f"/jobs{query}").json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        query = f"?limit={limit}&cursor={page['next']}"
    assert seen == started


def test_a_page_is_not_moved_by_a_new_job(api: ApiOf, viewer: User, started: list[str], acme: TenantRef) -> None:
    asking = api(viewer)
    first = asking.get("/jobs?limit=4").json()
    with use_tenant(acme):
        job_start(kind="members.export")
    assert ids(asking, f"?limit=4&cursor={first['next']}") == started[4:]


def test_filters_leave_the_others_out(api: ApiOf, viewer: User, started: list[str], acme: TenantRef) -> None:
    asking = api(viewer)
    with use_tenant(acme):
        Job.objects.filter(pk=started[2]).update(state="failed", error="It was not to be.")
        Job.objects.filter(pk=started[4]).update(kind="notes.write")
    assert ids(asking, "?state=failed") == [started[2]]
    assert ids(asking, "?kind=notes.write") == [started[4]]
    assert ids(asking, "?kind=members.export&state=queued") == [started[n] for n in (0, 1, 3, 5, 6)]
    assert ids(asking, "?kind=notes.write&state=failed") == ids(asking, "?kind=none.such") == []
    assert asking.get("/jobs?state=failed").json()["items"][0]["error"] == "It was not to be."


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=ten", "state=lost", "cursor=nonsense", "cursor=W10", "kind=" + "x" * 101]
)
def test_what_can_not_be_asked_is_422(api: ApiOf, viewer: User, query: str) -> None:
    answer = api(viewer).get(f"/jobs?{query}")
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


def test_the_limit_may_be_500(api: ApiOf, viewer: User, started: list[str]) -> None:
    """The control of the test above."""
    assert len(ids(api(viewer), "?limit=500")) == COUNT


def test_a_token_needs_the_scope(api: ApiOf, owner: User, started: list[str]) -> None:
    assert api(owner, scopes=["members.read", "jobs.write"]).get("/jobs").status_code == 403
    assert api(owner, scopes=["jobs.read"]).get("/jobs").status_code == 200


def test_another_tenant_has_none_of_them(api: ApiOf, stranger: User, globex: TenantRef, started: list[str]) -> None:
    assert ids(api(stranger, globex)) == []


def test_a_job_of_another_tenant_is_as_one_that_never_was(
    api: ApiOf, stranger: User, owner: User, globex: TenantRef, started: list[str]
) -> None:
    foreign, never = started[0], "01900000-0000-7000-8000-000000000000"
    asking = api(stranger, globex)

    def answers(job_id: str) -> list[Any]:
        found = [asking.get(f"/jobs/{job_id}{rest}") for rest in ("", "/result", "/report")]
        found.append(asking.post(f"/jobs/{job_id}/cancel"))
        return [
            (answer.status_code, answer["Content-Type"], {**answer.json(), "instance": "", "request_id": ""})
            for answer in found
        ]

    assert answers(foreign) == answers(never)
    assert {status for status, _, _ in answers(foreign)} == {404}
    assert foreign not in str(answers(foreign))
    assert api(owner).get(f"/jobs/{foreign}").status_code == 200  # the control
    assert api(owner).get(f"/jobs/{foreign}").json()["state"] == "queued"
