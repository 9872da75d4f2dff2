"""The report of an import names each row that wasn't taken, with the reason."""

from __future__ import annotations

import pytest

from accounts.models import User
from tests.accounts.conftest import Api, ApiOf
from tests.jobs.conftest import Lasting, body_of, imported, run, send, table

FILE = (
    "email,name,role\n"
    "good@example.com,Good,\n"
    "=cmd()@x,Bad,\n"
    'GOOD@example.com,"Again, ""quoted""",\n'
    "+1,Bad,-king\n"
)  # fmt: skip


@pytest.fixture
def report_url(lasting: Lasting, lasting_api: Api) -> str:
    job = imported(lasting_api, lasting.ref, FILE)
    found: str = lasting.get(lasting_api, f"/jobs/{job.pk}").json()["report_url"]
    return found.removeprefix("/api/v1")


def test_a_report_is_csv_that_no_spreadsheet_runs(lasting: Lasting, lasting_api: Api, report_url: str) -> None:
    answer = lasting.get(lasting_api, report_url)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="report.csv"'
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert table(body_of(answer)) == [
        ["row", "column", "value", "reason"],
        ["3", "email", "'=cmd()@x", "Enter a valid e-mail address."],
        ["4", "email", "GOOD@example.com", "Row 2 has this address already; the first one counts."],
        ["5", "email", "'+1", "Enter a valid e-mail address."],
        ["5", "role", "'-king", "Use admin, member or viewer, or leave it empty."],
    ]


def test_a_report_holds_what_was_said_of_one_job_alone(lasting: Lasting, lasting_api: Api, report_url: str) -> None:
    other = imported(lasting_api, lasting.ref, "email\nother@example.com\n")
    assert len(table(body_of(lasting.get(lasting_api, f"/jobs/{other.pk}/report")))) == 1
    assert len(table(body_of(lasting.get(lasting_api, report_url)))) == 5


def test_a_job_that_waits_has_an_empty_report(lasting: Lasting, lasting_api: Api) -> None:
    job_id = send(lasting_api, "email\nx\n").json()["id"]
    assert table(body_of(lasting.get(lasting_api, f"/jobs/{job_id}/report"))) == [["row", "column", "value", "reason"]]
    run(lasting.ref, job_id)


def test_a_kind_without_a_report_has_none(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    job = asking.post("/jobs", {"kind": "members.export"}).json()
    assert job["report_url"] is None
    assert asking.get(f"/jobs/{job['id']}/report").status_code == 404


def test_those_who_may_not_import_read_no_report(api: ApiOf, owner: User, member: User, viewer: User) -> None:
    job_id = send(api(owner), "email\nx\n").json()["id"]
    for asking in (api(member), api(viewer), api(owner, scopes=["jobs.read"])):
        assert asking.get(f"/jobs/{job_id}").status_code == 200  # its state is for everybody who reads jobs
        assert asking.get(f"/jobs/{job_id}/report").status_code == 403
