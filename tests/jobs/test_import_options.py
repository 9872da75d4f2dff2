"""An import in each format, with columns that are said, of new members alone, and without doing anything."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import orjson
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.errors import InvalidField
from accounts.imports import batches
from accounts.imports import job as imports
from accounts.imports.rules import _USUAL_EMAIL
from accounts.models import ImportedRow, User
from accounts.services.members import member_create
from accounts.validation import MAX_EMAIL, clean_email
from activity.jobs.models import Job
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf
from tests.jobs.conftest import events_of, imported, members, problems, run, send, send_form
from tests.jobs.workbooks import written

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# Good rows, repeats near and far, an owner, members who are there, and each kind of fault.
ROWS = [
    ["email", "name", "role"],
    ["ann@example.com", "Anna", "viewer"],
    ["bob@example.com", "Bob", ""],
    ["new@example.com", "New", "admin"],
    ["NEW@example.com", "Again", ""],
    ["olga@example.com", "Other", ""],
    ["olga@example.com", "", ""],
    ["king@example.com", "King", "owner"],
    ["nobody", "x" * 201, "king"],
    ["king@example.com", "King", "viewer"],
    ["ann@example.com", "Third", ""],
    ["'+plus@example.com", "'=1+1", "Viewer"],
    ["zoe@example.com", "Zoë \\ 李\n\t2", ""],
]


@pytest.fixture
def asking(api: ApiOf, admin: User) -> Api:
    return api(admin)


@pytest.fixture
def people(acme: TenantRef) -> None:
    """Members who are there before."""
    with use_tenant(acme):
        member_create(by=None, email="ann@example.com", name="Ann")
        member_create(by=None, email="bob@example.com", name="Bob", role="viewer")
        member_create(by=None, email="olga@example.com", name="Olga", role="owner")


def csv_of(rows: list[list[str]]) -> bytes:
    return "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows).encode()


def ndjson_of(rows: list[list[str]]) -> bytes:
    return b"\n".join(orjson.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:])


def xlsx_of(rows: list[list[str]]) -> bytes:
    return written(rows, strings_to_formulas=False, strings_to_urls=False).getvalue()


FORMATS: dict[str, tuple[Any, str]] = {
    "csv": (csv_of, "text/csv"),
    "ndjson": (ndjson_of, "application/x-ndjson"),
    "xlsx": (xlsx_of, XLSX),
}


def done(asking: Api, tenant: TenantRef, content: bytes, content_type: str = "text/csv", **query: Any) -> Job:
    return imported(asking, tenant, content, content_type=content_type, query=query)


def users(tenant: TenantRef) -> list[tuple[Any, ...]]:
    """Everything of the table of members."""
    with use_tenant(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT *, xmin, ctid FROM accounts_user ORDER BY id")
        return cursor.fetchall()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.usefixtures("people")
def test_the_rules_are_the_same_in_every_format(asking: Api, acme: TenantRef, form: str) -> None:
    make, content_type = FORMATS[form]
    job = done(asking, acme, make(ROWS), content_type)
    assert (job.state, job.error) == ("succeeded", "")
    assert job.params["format"] == form
    assert job.input_name == f"upload.{form}"
    assert job.counts == {"created": 4, "updated": 1, "unchanged": 2, "refused": 5}
    found = members(acme)
    assert found["ann@example.com"] == ("Anna", "viewer")
    assert found["bob@example.com"] == ("Bob", "viewer")
    assert found["new@example.com"] == ("New", "admin")
    assert found["king@example.com"] == ("King", "viewer")
    assert found["+plus@example.com"] == ("=1+1", "viewer")
    assert found["zoe@example.com"] == (ROWS[-1][1], "member")
    assert found["olga@example.com"] == ("Olga", "owner")
    less = 1 if form == "ndjson" else 0  # an NDJSON file has no line of names
    assert [(row + less, column) for row, column, _, _ in problems(acme, job)] == [
        (5, "email"), (6, "email"), (8, "role"), (9, "email"), (9, "name"), (9, "role"), (11, "email"),
    ]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_a_form_sends_each_format(asking: Api, acme: TenantRef, form: str) -> None:
    make, _ = FORMATS[form]
    file = SimpleUploadedFile("people of May", make([["email"], ["ann@example.com"]]), "application/octet-stream")
    job = run(acme, send_form(asking, file=file).json()["id"])
    assert (job.params["format"], job.counts["created"], job.input_name) == (form, 1, "people of May")


def test_a_line_of_ndjson_that_is_no_object_is_refused_and_the_others_are_taken(asking: Api, acme: TenantRef) -> None:
    job = imported(asking, acme, b'{"email":"ann@example.com"}\nnonsense\n{"email":"bob@example.com"}\n')
    assert job.counts["created"] == 2
    assert problems(acme, job) == [(2, "", "nonsense", "This line isn't a JSON object.")]


def test_a_workbook_that_is_damaged_further_down_fails_and_takes_nothing(asking: Api, acme: TenantRef) -> None:
    """Too far down for the glance at its first rows by which a file is taken."""
    content = bytearray(xlsx_of([["email"], *([f"p{number}@example.com"] for number in range(20_000))]))
    sheet = zipfile.ZipFile(io.BytesIO(content)).getinfo("xl/worksheets/sheet1.xml")
    place = sheet.header_offset + 30 + len(sheet.filename) + sheet.compress_size * 3 // 4
    content[place : place + 20] = b"\xaa" * 20
    before = users(acme)
    job = done(asking, acme, bytes(content), XLSX)
    assert (job.state, job.done) == ("failed", 0)
    assert "damaged" in job.error
    assert users(acme) == before


# --- Columns that are said ---------------------------------------------------------------------------------------------------

WORK = b"Work mail;Private mail;Called;Position;Email\nann@work.example;ann@home.example;Ann;viewer;x\n"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["email:Work mail"], {"ann@work.example": ("", "member")}),
        (["email:Private mail", "name:Called"], {"ann@home.example": ("Ann", "member")}),
        (["email:work MAIL", "name:called", "role:Position"], {"ann@work.example": ("Ann", "viewer")}),
    ],
)
def test_columns_are_what_is_said_of_them(
    asking: Api, acme: TenantRef, said: list[str], expected: dict[str, tuple[str, str]]
) -> None:
    before = members(acme)
    job = done(asking, acme, WORK, map=said)
    assert job.counts["created"] == 1
    assert members(acme) == before | expected


def test_columns_that_are_not_said_are_let_be(asking: Api, acme: TenantRef) -> None:
    done(asking, acme, b"email,name,role\nann@example.com,Ann,viewer\n", map=["email:email"])
    assert members(acme)["ann@example.com"] == ("", "member")


@pytest.mark.parametrize(
    ("query", "field", "word"),
    [
        ({"map": ["email"]}, "map", "Write email:"),
        ({"map": ["phone:Called"]}, "map", "Write email:"),
        ({"map": ["name:Called"]}, "map", "which column holds the e-mail"),
        ({"map": ["email:Nowhere"]}, "map", "It has: Work mail, Private mail"),
        ({"map": ["email:"]}, "map", "no column"),
        ({"map": ["email:Work mail", "email:Private mail"]}, "map", "said twice"),
        ({"map": ["email:Work mail", "name:Work mail"]}, "map", "can't be two things"),
        ({"map": ["email:x"] * 11}, "map", "at most 10"),
        ({"mode": "replace"}, "mode", "create_only"),
        ({"dry_run": "perhaps"}, "dry_run", "boolean"),
    ],
)
def test_what_can_not_be_is_422_by_its_field_and_starts_nothing(
    asking: Api, acme: TenantRef, query: dict[str, Any], field: str, word: str
) -> None:
    answer = send(asking, WORK, query=query)
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    assert list(answer.json()["errors"]) == [field]
    assert word in answer.json()["errors"][field][0]
    with use_tenant(acme):
        assert not Job.objects.exists()


def test_a_column_that_is_there_twice_is_not_said(asking: Api) -> None:
    answer = send(asking, b"mail,mail\na@example.com,b@example.com\n", query={"map": ["email:mail"]})
    assert "there twice" in answer.json()["errors"]["map"][0]


def test_the_same_key_with_other_options_is_another_request(asking: Api) -> None:
    assert send(asking, WORK, key="k", query={"map": ["email:Work mail"]}).status_code == 202
    assert send(asking, WORK, key="k", query={"map": ["email:Work mail"]})["Idempotency-Replayed"] == "true"
    assert send(asking, WORK, key="k", query={"map": ["email:Work mail"], "dry_run": "true"}).status_code == 422


# --- New members alone -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("people")
def test_new_members_alone(asking: Api, acme: TenantRef) -> None:
    before = members(acme)
    job = done(asking, acme, csv_of(ROWS), mode="create_only")
    assert {email: members(acme)[email] for email in before} == before
    assert job.counts == {"created": 4, "updated": 0, "unchanged": 3, "refused": 5}
    # Rows about an owner change nothing either way; the second one is a repeat.
    assert [(row, column) for row, column, _, _ in problems(acme, job)] == [
        (5, "email"), (7, "email"), (8, "role"), (9, "email"), (9, "name"), (9, "role"), (11, "email"),
    ]  # fmt: skip


# --- Dry runs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [imports.BATCH, 1, 3])
@pytest.mark.parametrize("mode", ["create_and_update", "create_only"])
@pytest.mark.usefixtures("people")
def test_a_dry_run_says_what_an_import_does_and_writes_nothing(
    asking: Api, acme: TenantRef, mode: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH", size)
    before = users(acme)
    dry = done(asking, acme, csv_of(ROWS), mode=mode, dry_run="true")
    assert users(acme) == before
    with use_tenant(acme):
        assert not ImportedRow.objects.exists()
    wet = done(asking, acme, csv_of(ROWS), mode=mode)
    assert (dry.state, dry.done, dry.total, dry.counts) == (wet.state, wet.done, wet.total, wet.counts)
    assert dry.counts["created"] == 4
    assert problems(acme, dry) == problems(acme, wet)
    assert users(acme) != before


@pytest.mark.usefixtures("people")
def test_without_its_own_statement_a_dry_run_would_write(
    asking: Api, acme: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(batches, "_FORESEE", batches._TAKE)
    before = users(acme)
    done(asking, acme, csv_of(ROWS), dry_run="true")
    assert users(acme) != before


def test_a_dry_run_is_told_as_one(asking: Api, acme: TenantRef) -> None:
    job = done(asking, acme, b"email\nann@example.com\n", dry_run="true")
    assert [event["action"] for event in events_of(acme, job.pk)] == ["job.started", "job.succeeded"]
    assert events_of(acme, job.pk)[0]["data"]["params"]["dry_run"] is True


cells = st.text(st.characters(codec="utf-8", exclude_characters='\0"'), max_size=8)
addresses = st.sampled_from(
    ["ann@example.com", "ANN@example.com", "bob@example.com", "cy@example.com", "olga@example.com", "x"]
)
roles = st.sampled_from(["", "viewer", "Admin", "owner", "king"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(addresses, cells, roles), max_size=10),
    mode=st.sampled_from(["create_and_update", "create_only"]),
)
def test_whatever_is_in_the_file_a_dry_run_foresees_it(
    rows: list[tuple[str, str, str]], mode: str, foreseen: Any
) -> None:
    foreseen([["email", "name", "role"], *map(list, rows)], mode)


@pytest.fixture
def foreseen(asking: Api, acme: TenantRef, people: None) -> Any:
    """Import dry, then wet; both must say the same."""

    def check(rows: list[list[str]], mode: str) -> None:
        before = users(acme)
        dry = done(asking, acme, ndjson_of(rows) or b'{"email":""}', "application/x-ndjson", mode=mode, dry_run="true")
        assert users(acme) == before
        wet = done(asking, acme, ndjson_of(rows) or b'{"email":""}', "application/x-ndjson", mode=mode)
        assert dry.counts == wet.counts
        assert problems(acme, dry) == problems(acme, wet)

    return check


# --- The rules ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.from_regex(_USUAL_EMAIL, fullmatch=True))
def test_an_address_that_is_taken_the_quick_way_is_one(address: str) -> None:
    if len(address) <= MAX_EMAIL:
        assert clean_email(address) == address


@pytest.mark.parametrize(
    "address",
    ["a@b", "@b.example", "a..b@c.example", "a@-b.example", "a@b-.example", "a@b.c", "a b@c.example", "a@b.example\n"],
)
def test_what_is_no_address_is_not_taken_the_quick_way(address: str) -> None:
    assert not _USUAL_EMAIL.fullmatch(address)
    with pytest.raises(InvalidField):
        clean_email(address.replace("\n", " x"))
