"""An import of members whose worker is killed and stopped in its midst takes each row in once, in the memory that a small one takes.

60,000 rows, three kills and one stop here, and 20,000 for the memory of each format; `make scenarios` takes 300,000 rows, twenty kills and
five stops, 1,000,000 rows and ten kills, and 1,000,000 for the memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import psutil
import pytest
import xlsxwriter
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory

from accounts.imports.starting import members_import_start
from accounts.models import ImportedRow, User
from activity.jobs.models import Job, JobProblem
from tenants.refs import TenantRef
from tests.faults.mid_job import events_of, kill_runner, runner_of, stop_runner, wait_until, worker
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")

SIZES = [
    pytest.param(60_000, 3, 1, id="60k-3-1"),
    pytest.param(300_000, 20, 5, id="300k-20-5", marks=pytest.mark.scenario),
    pytest.param(1_000_000, 10, 0, id="1M-10-0", marks=pytest.mark.scenario),
]


def lines(rows: int, prefix: str) -> Iterator[tuple[str, str]]:
    """So many good rows, and one in a hundred that isn't: a repeat of the row before it, in capitals."""
    for number in range(rows):
        yield f"{prefix}{number}@people.example", f"Person {number}"
        if number % 100 == 0:
            yield f"{prefix.upper()}{number}@PEOPLE.EXAMPLE", "Again"


def written(rows: int, prefix: str, form: str) -> IO[bytes]:
    """A file of them. A workbook's texts are shared, as Excel writes them."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  whoever asks closes it
    if form == "xlsx":
        book = xlsxwriter.Workbook(file)
        sheet = book.add_worksheet()
        for number, cells in enumerate(chain([("email", "name")], lines(rows, prefix))):
            sheet.write_row(number, 0, cells)
        book.close()
    elif form == "ndjson":
        file.writelines(f'{{"email":"{email}","name":"{name}"}}\n'.encode() for email, name in lines(rows, prefix))
    else:
        file.writelines(f"{email},{name}\n".encode() for email, name in chain([("email", "name")], lines(rows, prefix)))
    file.seek(0)
    return file


def start(rows: int, *, prefix: str, form: str = "csv") -> Job:
    """An import of so many good rows."""
    with written(rows, prefix, form) as file:
        upload = SimpleUploadedFile("members", file.read())
    request = RequestFactory().post("/api/v1/members/import", {"file": upload})
    try:
        return members_import_start(request)
    finally:
        request.close()  # as Django does at a request's end: the form's file is closed


def check(job: Job, rows: int, *, prefix: str) -> None:
    repeats = rows // 100
    assert job.state == "succeeded", job.error
    found = User.objects.filter(email__startswith=prefix).values_list("email", "name")
    assert dict(found) == {f"{prefix}{n}@people.example": f"Person {n}" for n in range(rows)}
    assert found.count() == rows
    assert job.counts == {"created": rows, "updated": 0, "unchanged": 0, "refused": repeats}
    assert job.done == job.total == rows + repeats
    assert JobProblem.objects.filter(job=job).count() == repeats
    assert events_of(job, "job.started") == events_of(job, "job.succeeded") == 1
    assert events_of(job, "member.created") == 0
    assert not ImportedRow.objects.exists()


@pytest.mark.parametrize(("rows", "kills", "stops"), SIZES)
def test_kills_and_stops_leave_each_row_once(
    acme_entered: TenantRef, tmp_path: Path, rows: int, kills: int, stops: int
) -> None:
    with worker(tmp_path / "worker") as started:
        job = start(rows, prefix=(first := f"a{uuid4().hex[:6]}"))
        check(kill_runner(started, job, kills), rows, prefix=first)
        if not stops:
            return
        job = start(rows, prefix=(second := f"b{uuid4().hex[:6]}"))
        check(stop_runner(started, job, stops), rows, prefix=second)
        assert wait_for(lambda: started.lines("job_lease_lost"), what="the stopped one learns that it lost the job")


@pytest.fixture
def started(acme_entered: TenantRef, tmp_path: Path) -> Iterator[Any]:
    with worker(tmp_path / "worker") as started:
        yield started


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.scenario)])
def test_an_import_takes_the_memory_of_a_small_one(started: Any, rows: int, form: str) -> None:
    """The process's largest size while it runs, beyond what it was after a small import: at most 64 MiB."""
    small = wait_until(start(2_000, prefix=f"s{uuid4().hex[:6]}", form=form), lambda it: it.is_finished)
    children = psutil.Process(started.popen.pid).children()
    before = {child.pid: child.memory_info().rss for child in children}
    for pid in before:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the largest size so far
    job = wait_until(start(rows, prefix=f"l{uuid4().hex[:6]}", form=form), lambda it: it.is_finished, timeout=900)
    assert small.state == job.state == "succeeded"
    runner = runner_of(started, job)
    most = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{runner}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    print(f"\n{rows:,} rows as {form}: {(most - before[runner]) / 2**20:.1f} MiB more")
    assert most - before[runner] <= 64 * 2**20
