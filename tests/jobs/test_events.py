"""A job leaves one event when it starts and one when it ends, and none for each row."""

from __future__ import annotations

import pytest

from accounts.models import User
from activity.jobs.services import job_start
from activity.models import OutboxEvent
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.jobs.conftest import events_of, imported, run, send
from tests.jobs.kinds import Kinds, Raise, kinds  # noqa: F401  a fixture

FILE = "email,name\nann@example.com,Ann\nbob@example.com,Bob\nbad,\n"


def test_an_import_that_succeeds(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job = imported(api(admin), acme, FILE)
    started, ended = events_of(acme, job.pk)
    who = {"type": "member", "id": str(admin.pk), "name": "Adam"}
    assert (started["action"], started["actor"]) == ("job.started", who)
    assert started["data"]["kind"] == "members.import"
    assert started["data"]["file"] == "upload.csv"
    assert started["data"]["params"]["columns"] == {"email": 0, "name": 1}
    assert (ended["action"], ended["actor"], ended["source"]) == ("job.succeeded", who, "job")
    assert ended["data"]["done"] == 3
    assert ended["data"]["counts"] == {"created": 2, "updated": 0, "unchanged": 0, "refused": 1}
    assert ended["target"] == started["target"] == {"type": "job", "id": str(job.pk), "name": "members.import"}


def test_no_row_has_an_event(api: ApiOf, admin: User, acme: TenantRef) -> None:
    asking = api(admin)
    with use_tenant(acme):
        before = OutboxEvent.objects.count()
    imported(asking, acme, FILE)
    with use_tenant(acme):
        assert OutboxEvent.objects.count() == before + 2


def test_an_import_that_fails(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job = imported(api(admin), acme, 'email,name\nann@example.com,"Ann\n')
    _, ended = events_of(acme, job.pk)
    assert ended["action"] == "job.failed"
    assert ended["data"]["error"] == job.error
    assert ended["data"]["done"] == 0
    assert ended["actor"]["name"] == "Adam"


def test_a_job_that_runs_again_records_nothing_more(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job = imported(api(admin), acme, FILE)
    before = events_of(acme, job.pk)
    assert run(acme, job.pk).finished_at == job.finished_at
    assert events_of(acme, job.pk) == before


def test_one_that_nobody_started_is_the_systems(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: None))
    run(tenant, job.pk)
    assert [(event["action"], event["actor"]["type"]) for event in events_of(tenant, job.pk)] == [
        ("job.started", "system"),
        ("job.succeeded", "system"),
    ]


def test_the_end_carries_the_request_that_started_it(api: ApiOf, admin: User, acme: TenantRef) -> None:
    job_id = send(api(admin), FILE).json()["id"]
    run(acme, job_id)
    started, ended = events_of(acme, job_id)
    assert started["request_id"] == ended["request_id"] is not None


def test_what_goes_wrong_unforeseen_is_a_failure_that_shows_nothing_of_it(
    tenant: TenantRef,
    kinds: Kinds,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = job_start(kind=kinds.add(Raise(ValueError("the secret of the kind"))))
    job = run(tenant, job.pk)
    assert job.state == "failed"
    assert "secret" not in job.error
    _, ended = events_of(tenant, job.pk)
    assert ended["action"] == "job.failed"
    assert "secret" not in str(ended)
    assert "job_raised" in caplog.text
