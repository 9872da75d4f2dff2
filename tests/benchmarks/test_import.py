"""What an import costs beside a bare COPY of the same rows into the same table with the same indexes, in one run.

TENANTRY_BENCH_ROWS names another size than 1,000,000, TENANTRY_BENCH_ROUNDS another number of rounds than 1. In CI the statements of a
batch are counted in its place, at 400 and 800 rows in batches of 100.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import xlsxwriter
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.imports import job as imports
from accounts.imports.columns import COLUMNS, REQUIRED, found_columns
from accounts.models import User
from activity.jobs import files, reading
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.tables import Format
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, lasting_tenant  # noqa: F401  a fixture

ROWS = int(os.environ.get("TENANTRY_BENCH_ROWS", "1000000"))
ROUNDS = int(os.environ.get("TENANTRY_BENCH_ROUNDS", "1"))

_COPY = """
COPY accounts_user (id, email, name, role, password, is_active, is_staff, is_superuser, created_at, session_epoch) FROM STDIN
"""


def people(rows: int) -> Iterator[tuple[str, str, str]]:
    for number in range(rows):
        yield f"person{number}@people.example", f"Person Number {number}", ("member", "viewer", "admin")[number % 3]


def written(rows: int, form: Format = "csv") -> Any:
    """A file of so many people."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  whoever asks closes it
    if form == "xlsx":
        book = xlsxwriter.Workbook(file, {"constant_memory": True})
        sheet = book.add_worksheet()
        for number, cells in enumerate([("email", "name", "role"), *people(rows)]):
            sheet.write_row(number, 0, cells)
        book.close()
    elif form == "ndjson":
        file.writelines(
            b'{"email":"%s","name":"%s","role":"%s"}\n' % tuple(cell.encode() for cell in cells)
            for cells in people(rows)
        )
    else:
        file.write(b"email,name,role\n")
        file.writelines(f"{','.join(cells)}\n".encode() for cells in people(rows))
    file.seek(0)
    return file


def started(file: Any, form: Format = "csv") -> Job:
    """The job of a file, not yet run."""
    layout = reading.layout_of(file, form, "utf-8", known=COLUMNS, required=REQUIRED)
    header = reading.header_of(file, layout)
    params = imports.ImportParams(
        format=layout.format,
        encoding=layout.encoding,
        separator=layout.separator,
        columns=found_columns(header, layout),
        width=len(header),
        sha256="",
        size=0,
    )
    file.seek(0)
    return imports.import_start(file, name=f"people.{form}", params=params)


def emptied(ref: TenantRef) -> None:
    with use_tenant(ref), connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("TRUNCATE accounts_user, accounts_importedrow CASCADE")
        cursor.execute("RESET statement_timeout")


def by_job(ref: TenantRef, form: Format = "csv") -> float:
    """Seconds of the job: reading the file twice, the rules, the rows, the checkpoints."""
    with use_tenant(ref), written(ROWS, form) as file:
        job = started(file, form)
        begun = time.perf_counter()
        run_job(UUID(str(job.pk)))
        seconds = time.perf_counter() - begun
        job = Job.objects.get(pk=job.pk)
        assert job.state == "succeeded", job.error
        assert job.counts == {"created": ROWS, "updated": 0, "unchanged": 0, "refused": 0}
        assert User.objects.count() == ROWS
        files.delete_all(job.pk)
    return seconds


def by_copy(ref: TenantRef) -> float:
    """Seconds of a bare COPY of the rows as they are in the table in the end, in one transaction."""
    with use_tenant(ref), tempfile.TemporaryFile() as file, connection.cursor() as cursor:
        with cursor.copy(_COPY.replace("FROM STDIN", "TO STDOUT")) as copy:
            file.writelines(bytes(block) for block in copy)
        file.seek(0)
        cursor.execute("TRUNCATE accounts_user CASCADE")
        cursor.execute("SET statement_timeout = 0")
        begun = time.perf_counter()
        with cursor.copy(_COPY) as copy:
            while block := file.read(256 * 1024):
                copy.write(block)
        seconds = time.perf_counter() - begun
        cursor.execute("RESET statement_timeout")
        assert User.objects.count() == ROWS
    return seconds


@pytest.mark.bench
def test_an_import_beside_a_bare_copy(lasting_tenant: LastingTenant) -> None:  # noqa: F811
    ref = lasting_tenant()
    ratios = []
    for _ in range(ROUNDS):
        emptied(ref)
        ours, floor = by_job(ref), by_copy(ref)
        ratios.append(floor / ours)
        print(
            f"\n{ROWS:,} members: import {ours:.1f} s ({ROWS / ours:,.0f} rows/s), bare COPY {floor:.1f} s: {ratios[-1]:.2f}x"
        )
    assert sorted(ratios)[len(ratios) // 2] >= 0.15


def statements(ref: TenantRef, rows: int) -> int:
    """How many statements the job of so many people sends, but for COPY."""
    with use_tenant(ref), written(rows) as file:
        User.objects.all().delete()
        job = started(file)
        with CaptureQueriesContext(connection) as sent:
            run_job(UUID(str(job.pk)))
        assert Job.objects.get(pk=job.pk).counts["created"] == rows
        files.delete_all(job.pk)
        return len(sent)


def test_statements_grow_with_batches_and_not_with_rows(
    lasting_tenant: LastingTenant,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three for the rows, two for the checkpoint, two for the transaction."""
    monkeypatch.setattr(imports, "BATCH", 100)
    ref = lasting_tenant()
    few, many = statements(ref, 400), statements(ref, 800)
    assert (many - few) / 4 <= 7
    monkeypatch.setattr(imports, "BATCH", 200)
    assert statements(ref, 800) == few
