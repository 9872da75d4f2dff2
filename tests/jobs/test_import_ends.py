"""An import ends when it must, and what it kept beside goes with it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any

import pytest

from accounts.imports.job import ImportParams, import_start
from accounts.models import ImportedRow, SignInLink, User
from accounts.services import expiry
from accounts.signup import sign_in_link_create
from accounts.tasks import prune
from activity.jobs import reading
from activity.jobs.errors import Cancelled
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.tables import Format
from activity.jobs.xlsx_parts import Parts
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.jobs.conftest import NOBODY
from tests.jobs.test_xlsx_files import HEADER, parts, zipped


def start(content: bytes, form: Format = "csv") -> Job:
    params = ImportParams(
        format=form, encoding="utf-8", separator=",", columns={"email": 0}, width=1, sha256="", size=len(content)
    )
    return import_start(io.BytesIO(content), name="x", params=params)


@pytest.mark.parametrize(("form", "first"), [("csv", b"email\n"), ("ndjson", b'{"email":""}\n')])
def test_reading_ends_when_the_run_must_however_little_of_the_file_is_rows(
    tenant: TenantRef, form: Format, first: bytes
) -> None:
    attempt = Run(start(first + b"\n" * 200_000, form))
    params = ImportParams.model_validate(attempt.job.params)
    with attempt.input() as file:
        rows = reading.open_table(file, params.layout).rows()
        assert list(rows) == []
        attempt.stop(Cancelled())
        with pytest.raises(Cancelled):
            list(reading.open_table(file, params.layout).rows())


@pytest.mark.parametrize(
    "read", [lambda file: file.read(), next, lambda file: file.readinto(bytearray(9))], ids=["read", "next", "readinto"]
)
def test_so_does_every_way_to_read(tenant: TenantRef, read: Callable[[IO[bytes]], Any]) -> None:
    attempt = Run(start(b"email\nann@example.com\n"))
    with attempt.input() as file:
        assert read(file) in {b"email\nann@example.com\n", b"email\n", 9}
        attempt.stop(Cancelled())
        with pytest.raises(Cancelled):
            read(file)


def test_so_does_reading_a_workbook_of_which_few_bytes_are_many_unpacked(tenant: TenantRef) -> None:
    content = zipped(parts("<c/>" * 1_000_000 + HEADER)).getvalue()
    assert len(content) < 10_000
    attempt = Run(start(content, "xlsx"))
    with attempt.input() as file:
        blocks = Parts(file).blocks("xl/worksheets/sheet1.xml")
        next(blocks)
        attempt.stop(Cancelled())
        with pytest.raises(Cancelled):
            next(blocks)


@pytest.mark.parametrize(
    ("state", "is_kept"), [("failed", True), ("running", True), ("cancelled", False), ("succeeded", False)]
)
def test_what_was_kept_beside_goes_with_a_job_that_will_not_go_on(tenant: TenantRef, state: str, is_kept: bool) -> None:
    job = start(b"email\n")
    Job.objects.filter(pk=job.pk).update(state=state)
    ImportedRow.objects.create(job_id=job.pk, number=2, email="ann@example.com")
    ImportedRow.objects.create(job_id=NOBODY, number=2, email="ann@example.com")
    prune.run()
    assert list(ImportedRow.objects.values_list("job_id", flat=True)) == ([job.pk] if is_kept else [])


def test_the_upkeep_is_of_the_active_tenant_alone_and_of_all_that_has_expired(
    acme: TenantRef, globex: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent to each of them: one that looked after all would do so once for each."""
    monkeypatch.setattr(expiry, "BATCH", 2)
    for ref in (acme, globex):
        with use_tenant(ref):
            user = User.objects.create_user("late@example.com")
            for _ in range(5):
                sign_in_link_create(user=user)
            SignInLink.objects.update(expires_at="2000-01-01T00:00:00Z")
    with use_tenant(acme):
        prune.run()
        assert SignInLink.objects.count() == 0
    with use_tenant(globex):
        assert SignInLink.objects.count() == 5
