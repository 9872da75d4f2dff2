"""While a job with a unique key isn't finished, no other one of its kind is started with it."""

from __future__ import annotations

import io
import threading
from uuid import UUID, uuid4

import pytest
from django.core.files.storage import default_storage
from django.db import DatabaseError, transaction
from pytest_django import DjangoDbBlocker

from accounts.models import User
from activity.jobs import services
from activity.jobs.errors import JobFailed, UniqueTaken
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.services import Input, job_cancel, job_retry, job_start
from tenants.context import use_control, use_tenant
from tenants.models import JobSummary
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.at_once import at_once
from tests.jobs.conftest import Lasting, events_of, lasting  # noqa: F401  fixtures
from tests.jobs.kinds import Kinds, Raise, kinds  # noqa: F401  a fixture


def test_the_unfinished_one_is_returned_and_a_finished_one_makes_room(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    kind = kinds.add(lambda run, params: None)
    first = job_start(kind=kind, unique="weekly")
    assert job_start(kind=kind, unique="weekly").pk == first.pk
    assert len(events_of(tenant, first.pk)) == 1
    Job.objects.filter(pk=first.pk).update(state="running")
    assert job_start(kind=kind, unique="weekly").pk == first.pk
    Job.objects.filter(pk=first.pk).update(state="queued")
    run_job(first.pk)
    assert job_start(kind=kind, unique="weekly").pk != first.pk


def test_one_that_cannot_be_inserted_in_a_transaction_leaves_no_summary(
    tenant: TenantRef,
    kinds: Kinds,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its commit is undone in any case: whoever tries again and again would leave one each time."""
    kind = kinds.add(lambda run, params: None)

    def full(job: Job) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(services, "_insert", full)
    with use_control():
        before = JobSummary.objects.count()
    with pytest.raises(DatabaseError), transaction.atomic():
        job_start(kind=kind)
    with use_control():
        assert JobSummary.objects.count() == before


@pytest.mark.parametrize("key", ["schedule:nightly", "schedule:", "nightly", None])
def test_a_key_of_an_apps_own_names_no_schedule(key: str | None) -> None:
    assert Job(unique_key=key).schedule_id is None


def test_a_key_is_one_of_its_kind(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    one, other = kinds.add(lambda run, params: None), kinds.add(lambda run, params: None)
    ids = {job_start(kind=kind, unique=key).pk for kind in (one, other) for key in ("a", "b", None)}
    assert len(ids) == 6


def test_one_that_failed_is_not_retried_beside_another(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    kind = kinds.add(Raise(JobFailed("No.")))
    failed = job_start(kind=kind, unique="weekly")
    run_job(failed.pk)
    other = job_start(kind=kind, unique="weekly")
    with pytest.raises(UniqueTaken):
        job_retry(job=failed)
    assert Job.objects.get(pk=failed.pk).state == "failed"
    job_cancel(job=other)
    assert job_retry(job=failed).state == "queued"


def test_by_the_api(api: ApiOf, owner: User) -> None:
    body = {"kind": "members.export", "unique": "nightly"}
    first, again = (api(owner).post("/jobs", body) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    for bad in ("", "a b", "a\0", "x" * 201):
        answer = api(owner).post("/jobs", {**body, "unique": bad})
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["unique"])


def start_at_once(lasting: Lasting, blocker: DjangoDbBlocker, kind: str, key: str | None) -> list[UUID]:  # noqa: F811
    """The job that each of eight threads has started, all of them in the same moment."""
    with blocker.unblock():
        found = at_once(
            lasting.ref, *[lambda: job_start(kind=kind, unique=key, upload=Input(io.BytesIO(b"x"), "x")).pk] * 8
        )
    assert all(isinstance(job_id, UUID) for job_id in found), found
    return found


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch, untold_turns: None) -> None:
    """Nobody sees what others have started until their own insertion is refused: the race that a look before can't close."""
    unfinished = services._unfinished
    seen = threading.local()

    def look(kind: str, unique: str) -> Job | None:
        if not getattr(seen, "looked", False):
            seen.looked = True
            return None
        return unfinished(kind, unique)

    monkeypatch.setattr(services, "_unfinished", look)


@pytest.mark.usefixtures("blind")
def test_of_eight_at_once_one_is_started(lasting: Lasting, kinds: Kinds, django_db_blocker: DjangoDbBlocker) -> None:  # noqa: F811
    kind = kinds.add(lambda run, params: None)
    [job_id] = set(start_at_once(lasting, django_db_blocker, kind, uuid4().hex))
    with django_db_blocker.unblock():
        with use_tenant(lasting.ref):
            assert Job.objects.filter(kind=kind).count() == 1
            assert [event["action"] for event in events_of(lasting.ref, job_id)] == ["job.started"]
            folders, _ = default_storage.listdir("jobs")
            assert str(job_id) in folders
        with use_control():
            assert list(JobSummary.objects.filter(kind=kind).values_list("id", flat=True)) == [job_id]


@pytest.mark.usefixtures("blind")
def test_without_a_key_each_of_them_starts_one(
    lasting: Lasting, kinds: Kinds, django_db_blocker: DjangoDbBlocker  # noqa: F811
) -> None:  # fmt: skip
    """The control of the test above."""
    assert len(set(start_at_once(lasting, django_db_blocker, kinds.add(lambda run, params: None), None))) == 8
