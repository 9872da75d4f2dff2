"""Jobs of acme, run in this process; and a tenant in which commits are commits, for what reads through connections of its own."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from pytest_django import DjangoDbBlocker

from accounts.models import User
from accounts.roles import Role
from activity.jobs import turns
from activity.jobs.models import Job, JobProblem
from activity.jobs.runner import run_job
from activity.models import OutboxEvent
from activity.personal import reveal
from tenants import context, reads
from tenants.context import use_tenant
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    PASSWORD,
    Api,
    ApiOf,
    admin,
    api,
    fresh_limits,
    member,
    owner,
    quick_passwords,
    stranger,
    viewer,
)
from tests.accounts.pages.conftest import SignedIn, anonymous, signed_in  # noqa: F401  fixtures

NOBODY = UUID("00000000-0000-7000-8000-000000000000")
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def no_files_left(tenants: dict[str, TenantRef]) -> Iterator[None]:
    """Files don't roll back."""
    yield
    for ref in tenants.values():
        shutil.rmtree(Path(settings.MEDIA_ROOT) / ref.id / "jobs", ignore_errors=True)


@dataclass
class Lasting:
    """A tenant whose rows are committed, and its owner."""

    ref: TenantRef
    owner: User

    def written(self) -> str:
        """A token by which a replica that isn't so far yet isn't asked."""
        with use_tenant(self.ref), reads.reads_from_primary():
            reads.note_write()
            token = reads.read_after()
        assert token is not None
        return token

    def get(self, asking: Api, path: str) -> HttpResponse:
        return asking.get(path, X_Read_After=self.written())


@pytest.fixture(scope="module")
def lasting(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Lasting]:
    """For COPY, which borrows a connection of its own and sees none of what a test's transaction wrote."""
    with django_db_blocker.unblock():
        ref, _ = provision_tenant(slug=f"lasting-jobs{next(_numbers)}", name="Lasting")
        try:
            with use_tenant(ref):
                person = User.objects.create_user(f"olga@{ref.slug}.example", None, name="Olga", role=Role.OWNER)
            yield Lasting(ref, person)
        finally:
            with context.use_control():
                delete_tenant(ref)


@pytest.fixture
def untold_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns aren't told of: a test's own transaction in control would hold up what commits beside it."""
    monkeypatch.setattr(turns, "wait", lambda tenant_id: None)
    monkeypatch.setattr(turns, "make_room", lambda tenant_id: None)


@pytest.fixture
def lasting_api(lasting: Lasting, api: ApiOf) -> Api:  # noqa: F811
    """The API of the lasting tenant, as its owner."""
    found: Api = api(lasting.owner, lasting.ref)
    return found


def send(
    asking: Api,
    content: str | bytes,
    *,
    content_type: str = "text/csv",
    key: str = "",
    query: Mapping[str, Any] | None = None,
    **extra: Any,
) -> HttpResponse:
    """Send a file to be imported, as the body."""
    client = Client(raise_request_exception=False, HTTP_HOST=asking.host)
    headers = {"Authorization": f"Bearer {asking.token}"} | ({"Idempotency-Key": key} if key else {})
    path = f"{asking.root}/members/import?{urlencode(query or {}, doseq=True)}"
    # Not by post(), which would write the bytes anew in the charset that the type names.
    return client.generic("POST", path, content, content_type, headers=headers, **extra)


def send_form(asking: Api, **fields: Any) -> HttpResponse:
    """Send a form to the address of imports."""
    client = Client(raise_request_exception=False, HTTP_HOST=asking.host)
    path = f"{asking.root}/members/import"
    return client.post(path, data=fields, headers={"Authorization": f"Bearer {asking.token}"})


def run(tenant: TenantRef, job_id: Any) -> Job:
    """What a worker does; the job as it is then."""
    with use_tenant(tenant):
        run_job(UUID(str(job_id)))
        return Job.objects.get(pk=job_id)


def imported(asking: Api, tenant: TenantRef, content: str | bytes, **options: Any) -> Job:
    """Send a file and have the job run."""
    answer = send(asking, content, **options)
    assert answer.status_code == 202, answer.content
    return run(tenant, answer.json()["id"])


def problems(tenant: TenantRef, job: Job) -> list[tuple[int, str, str, str]]:
    """The lines of a job's report: row, column, value, reason."""
    with use_tenant(tenant):
        found = JobProblem.objects.filter(job=job).order_by("row", "id")
        return list(found.values_list("row", "column", "value", "reason"))


def members(tenant: TenantRef) -> dict[str, tuple[str, str]]:
    """Name and role of each member by address."""
    with use_tenant(tenant):
        return {email: (name, role) for email, name, role in User.objects.values_list("email", "name", "role")}


def events_of(tenant: TenantRef, job_id: Any) -> list[dict[str, Any]]:
    """What was recorded of a job, in its order."""
    with use_tenant(tenant):
        found = OutboxEvent.objects.filter(document__target__id=str(job_id)).order_by("id")
        return reveal(tenant, found.values_list("document", flat=True))


def body_of(answer: HttpResponse) -> bytes:
    """The body, whether it was streamed or not."""
    return b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]


def table(content: bytes) -> list[list[str]]:
    """The rows of CSV in UTF-8."""
    return list(csv.reader(io.StringIO(content.decode(), newline="")))
