"""`POST /jobs` starts a job, or says what is wrong with it and starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import User
from activity.jobs.models import Job
from tenants.context import use_tenant
from tenants.models import JobSummary
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf
from tests.jobs.conftest import events_of, run

EXPORT = {"kind": "members.export", "params": {"format": "ndjson"}}


@pytest.fixture
def nothing_started(acme: TenantRef) -> Iterator[None]:
    def started() -> set[Any]:
        with use_tenant(acme):
            jobs = set(Job.objects.values_list("id", flat=True))
        return jobs | set(JobSummary.objects.filter(tenant_id=acme.id).values_list("id", flat=True))

    before = started()
    yield
    assert started() == before


def test_a_job_that_was_started_waits(api: ApiOf, owner: User, acme: TenantRef) -> None:
    answer = api(owner).post("/jobs", EXPORT)
    assert answer.status_code == 202
    job = answer.json()
    assert set(job) == {
        "id", "kind", "state", "done", "total", "counts", "error", "quarantined", "after", "schedule", "rate", "seconds_left",
        "created_at", "started_at", "finished_at", "result_url", "result_removed_at", "report_url",
    }  # fmt: skip
    assert (job["kind"], job["state"], job["done"], job["total"], job["counts"]) == EXPECTED
    assert job["created_at"].endswith("Z")
    assert api(owner).get(f"/jobs/{job['id']}").json() == job
    assert run(acme, job["id"]).state == "succeeded"
    after = api(owner).get(f"/jobs/{job['id']}").json()
    assert (after["state"], after["result_url"]) == ("succeeded", f"/api/v1/jobs/{job['id']}/result")
    assert after["started_at"] <= after["finished_at"]


EXPECTED = ("members.export", "queued", 0, None, {})


@pytest.mark.usefixtures("nothing_started")
class TestRefused:
    """None of these starts a job."""

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({"kind": "members.explode"}, ["kind"]),
            ({"kind": "x" * 101}, ["kind"]),
            ({"kind": 1}, ["kind"]),
            ({}, ["kind"]),
            ({"kind": "members.export", "params": []}, ["params"]),
            ({"kind": "members.export", "params": {"format": "pdf"}}, ["params.format"]),
            ({"kind": "members.export", "params": {"format": 1}}, ["params.format"]),
            ({"kind": "members.export", "params": {"q": ["x"]}}, ["params.q"]),
            ({"kind": "members.export", "params": {"role": "king", "q": 1}}, ["params.q", "params.role"]),
            ({"kind": "members.export", "params": {"colour": "red"}}, ["params.colour"]),
            ({"kind": "members.export", "colour": "red"}, ["colour"]),
            ({"kind": "members.import"}, ["kind"]),
            ({"kind": "members.import", "params": {"encoding": "utf-8"}}, ["kind"]),
        ],
    )
    def test_what_can_not_be_started_is_422_with_the_field(
        self, api: ApiOf, owner: User, body: Any, fields: list[str]
    ) -> None:
        answer = api(owner).post("/jobs", body)
        assert answer.status_code == 422
        assert sorted(answer.json()["errors"]) == fields

    def test_an_unknown_kind_is_told_which_there_are(self, api: ApiOf, owner: User) -> None:
        [sentence] = api(owner).post("/jobs", {"kind": "members.explode"}).json()["errors"]["kind"]
        assert "members.export" in sentence
        assert "members.import" not in sentence

    def test_a_kind_that_works_on_a_file_says_where_the_file_goes(self, api: ApiOf, owner: User) -> None:
        [sentence] = api(owner).post("/jobs", {"kind": "members.import"}).json()["errors"]["kind"]
        assert "POST /api/v1/members/import" in sentence

    @pytest.mark.parametrize("person", ["member", "viewer"])
    def test_those_who_start_no_jobs_are_403(self, api: ApiOf, request: Any, person: str) -> None:
        assert api(request.getfixturevalue(person)).post("/jobs", EXPORT).status_code == 403

    @pytest.mark.parametrize("scopes", [["read"], ["jobs.write"], ["members.read"], ["jobs.read", "members.write"]])
    def test_a_token_needs_the_scope_of_jobs_and_the_kinds(self, api: ApiOf, owner: User, scopes: list[str]) -> None:
        assert api(owner, scopes=scopes).post("/jobs", EXPORT).status_code == 403

    def test_nobody_is_401(self, acme: TenantRef) -> None:
        assert Api("acme.localhost").post("/jobs", EXPORT).status_code == 401


def test_a_token_with_both_scopes_starts_it(api: ApiOf, owner: User) -> None:
    """The control of the refusals."""
    assert api(owner, scopes=["jobs.write", "members.read"]).post("/jobs", EXPORT).status_code == 202


def test_who_started_it_is_kept_and_recorded(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job_id = api(admin).post("/jobs", EXPORT).json()["id"]
    [started] = events_of(acme, job_id)
    assert started["action"] == "job.started"
    assert started["actor"] == {"type": "member", "id": str(admin.pk), "name": "Adam"}
    assert started["target"] == {"type": "job", "id": job_id, "name": "members.export"}
    assert started["data"]["params"] == {"format": "ndjson", "q": "", "role": ""}
    assert (started["source"], started["ip"]) == ("api", "127.0.0.1")
