"""A job that is asked for twice with one Idempotency-Key is one job."""

from __future__ import annotations

from django.core.files.storage import default_storage
from django.test import Client

from accounts.models import User
from activity.jobs import services
from activity.jobs.models import Job
from activity.jobs.services import job_start
from tenants.context import use_tenant
from tenants.models import JobSummary
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.jobs.conftest import events_of, send

EXPORT = {"kind": "members.export"}
FILE = "email\ngrace@example.com\n"


def test_a_job_is_started_once(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    first = asking.post("/jobs", EXPORT, Idempotency_Key="k1")
    again = asking.post("/jobs", EXPORT, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content
    assert again["Idempotency-Replayed"] == "true"
    assert len(events_of(acme, first.json()["id"])) == 1
    with use_tenant(acme):
        assert Job.objects.count() == 1


def test_one_key_in_the_same_moment_is_one_job(tenant: TenantRef) -> None:
    """The second one looked before the first one's was there."""
    first = job_start(kind="members.export", idempotency_key="k1")
    job = Job(kind="members.export", params={}, actor=first.actor, idempotency_key="k1")
    assert services._insert(job) == first
    assert Job.objects.count() == 1


def test_another_key_starts_another_job(api: ApiOf, owner: User) -> None:
    """The control of the test above."""
    asking = api(owner)
    ids = {asking.post("/jobs", EXPORT, Idempotency_Key=key).json()["id"] for key in ("k1", "k2")}
    assert len(ids) == 2


def test_a_file_is_imported_once(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    first = send(asking, FILE, key="k1")
    again = send(asking, FILE, key="k1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content
    with use_tenant(acme):
        job = Job.objects.get()
        with default_storage.open(job.input_file) as file:
            assert file.read() == FILE.encode()


def test_another_body_is_422_and_starts_nothing(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    summaries = JobSummary.objects.filter(tenant_id=acme.id)
    before = summaries.count()  # some are of tests that commit
    asking.post("/jobs", EXPORT, Idempotency_Key="k1")
    send(asking, FILE, key="k2")
    assert asking.post("/jobs", {**EXPORT, "params": {"q": "x"}}, Idempotency_Key="k1").status_code == 422
    assert send(asking, FILE.upper(), key="k2").status_code == 422
    assert send(asking, FILE, key="k1").status_code == 422
    with use_tenant(acme):
        assert Job.objects.count() == 2
    assert summaries.count() == before + 2


def test_a_refused_file_leaves_its_key_free(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    assert send(asking, "name\nGrace\n", key="k1").status_code == 422
    assert send(asking, FILE, key="k1").status_code == 202


def test_a_bad_key_is_422(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    client = Client(raise_request_exception=False, HTTP_HOST=asking.host)
    headers = {"Authorization": f"Bearer {asking.token}", "Idempotency-Key": ""}
    answer = client.post("/api/v1/members/import", FILE, content_type="text/csv", headers=headers)
    assert answer.status_code == 422


def test_a_key_of_a_jobs_own_gives_the_job_that_has_it(tenant: TenantRef) -> None:
    first = job_start(kind="members.export", idempotency_key="2026-05")
    assert job_start(kind="members.export", idempotency_key="2026-05").pk == first.pk
    assert job_start(kind="members.export", idempotency_key="2026-06").pk != first.pk
    assert len(events_of(tenant, first.pk)) == 1
