"""What is sent to be imported is taken or refused with a clear status, before anything is started."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import User
from activity.jobs.models import Job
from activity.jobs.tables import MAX_LINE
from tenants.context import use_tenant
from tenants.models import JobSummary
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf
from tests.jobs.conftest import imported, members, run, send, send_form

FILE = "email,name\ngrace@example.com,Grace\n"
ZOE = "email;name\nzoe@example.com;Zoë “Z” Ångström\n"


@pytest.fixture
def asking(api: ApiOf, admin: User) -> Api:
    return api(admin)


@pytest.fixture
def nothing_started(acme: TenantRef) -> Iterator[None]:
    """Whatever the test sends must leave no job behind, and no word of one in control."""
    before = JobSummary.objects.count()
    yield
    with use_tenant(acme):
        assert not Job.objects.exists()
    assert JobSummary.objects.count() == before


@pytest.mark.parametrize(
    "content_type",
    [
        "text/csv",
        "text/csv; charset=utf-8",
        "TEXT/CSV; Charset=UTF-8",
        "text/plain",
        "text/tab-separated-values",
        "application/vnd.ms-excel",
        "application/octet-stream",
        "application/x-www-form-urlencoded",  # curl --data-binary
    ],
)
def test_a_body_is_taken(asking: Api, acme: TenantRef, content_type: str) -> None:
    job = imported(asking, acme, FILE.encode(), content_type=content_type)
    assert (job.state, job.counts["created"]) == ("succeeded", 1)
    assert job.input_name == "upload.csv"


def test_a_form_is_taken_with_its_files_name(asking: Api, acme: TenantRef) -> None:
    answer = send_form(asking, file=SimpleUploadedFile("people of May.csv", FILE.encode(), "text/csv"))
    assert answer.status_code == 202
    job = run(acme, answer.json()["id"])
    assert (job.state, job.counts["created"], job.input_name) == ("succeeded", 1, "people of May.csv")


@pytest.mark.parametrize(
    ("content", "content_type", "encoding"),
    [
        (ZOE.encode(), "text/csv", "utf-8"),
        (codecs.BOM_UTF8 + ZOE.encode(), "text/csv", "utf-8-sig"),
        (codecs.BOM_UTF16_LE + ZOE.encode("utf-16-le"), "text/csv", "utf-16"),
        (codecs.BOM_UTF16_BE + ZOE.encode("utf-16-be"), "text/csv", "utf-16"),
        (ZOE.encode("cp1252"), "text/csv", "cp1252"),
        (ZOE.encode("mac-roman"), "text/csv; charset=macintosh", "mac-roman"),
        (ZOE.encode(), 'text/csv; charset="utf-8"', "utf-8"),
        (ZOE.encode(), "text/csv; charset=none-such", "utf-8"),
        (
            codecs.BOM_UTF8 + ZOE.encode(),
            "text/csv; charset=cp1252",
            "utf-8-sig",
        ),  # what it is goes before what is said
    ],
)
def test_the_encoding_is_found_out(
    asking: Api, acme: TenantRef, content: bytes, content_type: str, encoding: str
) -> None:
    job = imported(asking, acme, content, content_type=content_type)
    assert job.params["encoding"] == encoding
    assert members(acme)["zoe@example.com"] == ("Zoë “Z” Ångström", "member")


def test_a_letter_on_the_edge_of_two_blocks_is_still_utf_8(asking: Api, acme: TenantRef) -> None:
    head = "email,name\n"
    content = head.encode() + b"a" * (64 * 1024 - len(head) - 1) + "é".encode() + b",x\ngrace@example.com,Zo\xc3\xab\n"
    assert content[64 * 1024 - 1 : 64 * 1024 + 1] == "é".encode()
    assert imported(asking, acme, content).params["encoding"] == "utf-8"


@pytest.mark.usefixtures("nothing_started")
class TestRefused:
    """None of these starts a job."""

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (b"", "empty"),
            (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "picture"),
            (b"\xff\xd8\xff\xe0 jpeg", "picture"),
            (b"GIF89a", "picture"),
            (b"PK\x03\x04 xlsx", "isn't an Excel workbook"),
            (b"email\n" + b"a" * (MAX_LINE + 70_000), "a line of more than"),
            (b'[{"email": "a@example.com"}]', "NDJSON"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
            (b"%PDF-1.7", "PDF"),
            (b"\x1f\x8b\x08 gzip", "compressed"),
            (b"email,name\na\0@example.com,Ann\n", "bytes that no text has"),
            (b"email,name\n" + b"a@example.com,Ann\n" * 5_000 + b"\0", "bytes that no text has"),
            (b"name,role\nAnn,member\n", "email"),
            (b"email,name,E-Mail\n", "twice"),
        ],
    )
    def test_what_is_not_csv_with_addresses_is_422(self, asking: Api, content: bytes, word: str) -> None:
        answer = send(asking, content)
        assert answer.status_code == 422
        assert word in answer.json()["errors"]["file"][0]

    def test_the_same_is_refused_in_a_form(self, asking: Api) -> None:
        answer = send_form(asking, file=SimpleUploadedFile("a.csv", b"PK\x03\x04 xlsx", "text/csv"))
        assert answer.status_code == 422
        assert list(answer.json()["errors"]) == ["file"]

    @pytest.mark.parametrize("fields", [{}, {"other": "x"}, {"file": "not a file"}])
    def test_a_form_without_the_file_is_422(self, asking: Api, fields: dict[str, str]) -> None:
        answer = send_form(asking, **fields)
        assert answer.status_code == 422
        assert list(answer.json()["errors"]) == ["file"]

    @pytest.mark.parametrize("content_type", ["application/json", "text/html", "image/png", "application/pdf"])
    def test_another_content_type_is_415(self, asking: Api, content_type: str) -> None:
        answer = send(asking, FILE.encode(), content_type=content_type)
        assert answer.status_code == 415
        assert answer["Content-Type"] == "application/problem+json"

    def test_a_body_without_its_length_is_411(self, asking: Api) -> None:
        answer = send(asking, b"", HTTP_TRANSFER_ENCODING="chunked")
        assert answer.status_code == 411

    def test_a_body_that_says_it_is_too_large_is_413(self, asking: Api, settings: Any) -> None:
        settings.UPLOAD_MAX_BYTES = len(FILE) - 1
        answer = send(asking, FILE.encode())
        assert answer.status_code == 413
        assert answer["Content-Type"] == "application/problem+json"

    def test_a_file_in_a_form_that_is_too_large_is_413(self, asking: Api, settings: Any) -> None:
        settings.UPLOAD_MAX_BYTES = len(FILE) - 1
        answer = send_form(asking, file=SimpleUploadedFile("a.csv", FILE.encode(), "text/csv"))
        assert answer.status_code == 413

    def test_nobody_is_401(self, asking: Api) -> None:
        assert send(Api(asking.host, "nonsense"), FILE).status_code == 401

    def test_a_session_without_its_csrf_token_is_403(self, admin: User, acme: TenantRef) -> None:
        client = Client(HTTP_HOST="acme.localhost", enforce_csrf_checks=True, raise_request_exception=False)
        with use_tenant(acme):
            client.force_login(admin)
        assert client.post("/api/v1/members/import", FILE, content_type="text/csv").status_code == 403

    @pytest.mark.parametrize("person", ["member", "viewer"])
    def test_those_who_may_not_change_members_are_403(self, api: ApiOf, request: Any, person: str) -> None:
        assert send(api(request.getfixturevalue(person)), FILE).status_code == 403

    @pytest.mark.parametrize("scope", ["read", "members.read", "jobs.write"])
    def test_a_token_without_the_scope_is_403(self, api: ApiOf, owner: User, scope: str) -> None:
        assert send(api(owner, scopes=[scope]), FILE).status_code == 403


def test_a_file_of_just_the_size_is_taken(asking: Api, acme: TenantRef, settings: Any) -> None:
    """The control of the refusals of what is too large."""
    settings.UPLOAD_MAX_BYTES = len(FILE)
    assert send(asking, FILE.encode()).status_code == 202
