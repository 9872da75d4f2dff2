"""What nobody sends on purpose has a clear answer too."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import User
from activity.jobs.models import Job
from activity.jobs.services import job_start
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import body_of, imported, members, run, send, send_form
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture

FILE = "email,name\nann@example.com,Ann\n"


@pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "undefined", "zlib"])
def test_a_charset_that_is_no_encoding_of_text_is_let_be(
    api: ApiOf, owner: User, acme: TenantRef, charset: str
) -> None:
    job = imported(api(owner), acme, FILE, content_type=f"text/csv; charset={charset}")
    assert job.state == "succeeded"
    assert members(acme)["ann@example.com"] == ("Ann", "member")


def test_utf_16_without_its_mark_is_read_or_refused(api: ApiOf, owner: User) -> None:
    answer = send(api(owner), FILE.encode("utf-16-le"), content_type="text/csv; charset=utf-16")
    assert answer.status_code in {202, 422}


def test_utf_16_of_one_order_that_is_said_is_read(api: ApiOf, owner: User, acme: TenantRef) -> None:
    job = imported(api(owner), acme, FILE.encode("utf-16-le"), content_type="text/csv; charset=utf-16le")
    assert members(acme)["ann@example.com"] == ("Ann", "member")
    assert job.counts["created"] == 1


def test_text_that_is_not_in_the_charset_that_was_said_is_422_or_fails(
    api: ApiOf, owner: User, acme: TenantRef
) -> None:
    answer = send(api(owner), FILE.encode() + b"\xff\xff\n", content_type="text/csv; charset=utf-8")
    assert answer.status_code in {202, 422}
    if answer.status_code == 202:
        assert run(acme, answer.json()["id"]).state == "failed"


def test_bytes_that_the_encoding_has_not_are_named_and_not_the_header(api: ApiOf, owner: User) -> None:
    answer = send(api(owner), FILE.encode() + b"zo\x81\xeb@example.com,x\n")
    if answer.status_code == 422:
        assert "It has: nothing" not in answer.json()["detail"]


def test_a_refusal_shows_nothing_that_was_not_in_the_file(api: ApiOf, owner: User) -> None:
    answer = send(api(owner), '"email\n')
    assert answer.status_code == 422
    assert "end of file" not in answer.content.decode()


def test_a_disk_that_is_full_is_507(api: ApiOf, owner: User, acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = api(owner)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_, **__: open("/dev/full", "r+b"))  # noqa: SIM115
    assert send(asking, FILE).status_code == 507
    with use_tenant(acme):
        assert not Job.objects.exists()


@pytest.mark.parametrize("query", ["kind=%00", "cursor=%00"])
def test_a_filter_with_nul_finds_nothing(api: ApiOf, signed_in: SignedIn, owner: User, query: str) -> None:
    assert api(owner).get(f"/jobs?{query}").status_code in {200, 422}
    assert signed_in(owner).get(f"/jobs?{query}").status_code in {200, 400}


def test_a_state_with_nul_finds_nothing(signed_in: SignedIn, owner: User) -> None:
    assert signed_in(owner).get("/jobs?state=%00").status_code in {200, 400}


@pytest.mark.parametrize(
    "q", ["\0", "x\0y", "\ud800", "x" * 201, "x" * 1_000_000], ids=["nul", "nul inside", "surrogate", "201", "million"]
)
def test_an_export_by_what_no_name_holds_is_422(api: ApiOf, owner: User, acme: TenantRef, q: str) -> None:
    asking = api(owner)
    answer = asking.post("/jobs", {"kind": "members.export", "params": {"q": q}})
    assert answer.status_code in {400, 422}
    with use_tenant(acme):
        assert not Job.objects.exists()


def test_an_export_by_the_page_takes_no_nul(signed_in: SignedIn, owner: User) -> None:
    assert signed_in(owner).post("/members/export", {"format": "csv", "q": "a\0b"}).status_code in {302, 400, 422}


def test_jobs_of_a_kind_that_a_release_no_longer_has_are_still_listed(
    api: ApiOf,
    signed_in: SignedIn,
    owner: User,
    acme: TenantRef,
    kinds: Kinds,  # noqa: F811
) -> None:
    name = kinds.add(lambda run, params: None)
    with use_tenant(acme):
        job = job_start(kind=name)
    kinds.remove(name)
    run(acme, job.pk)
    asking = api(owner)
    assert asking.get("/jobs").status_code == 200
    assert asking.get(f"/jobs/{job.pk}").status_code == 200
    assert asking.post(f"/jobs/{job.pk}/cancel").status_code in {403, 409}
    assert asking.get(f"/jobs/{job.pk}/report").status_code in {403, 404}
    client = signed_in(owner)
    assert client.get("/jobs").status_code == 200
    assert client.get(f"/jobs/{job.pk}").status_code == 200


def test_a_row_that_was_refused_is_not_the_first_of_its_address(api: ApiOf, owner: User, acme: TenantRef) -> None:
    job = imported(api(owner), acme, "email,name,role\nann@example.com,First,owner\nann@example.com,Second,\n")
    assert job.counts["created"] == 1
    assert members(acme)["ann@example.com"] == ("Second", "member")


def test_an_ndjson_result_says_what_it_is(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    job_id = asking.post("/jobs", {"kind": "members.export", "params": {"format": "ndjson"}}).json()["id"]
    run(acme, job_id)
    answer = asking.get(f"/jobs/{job_id}/result")
    body_of(answer)
    assert answer["Content-Type"] == "application/x-ndjson"


@pytest.mark.parametrize("name", ["", "a/b\\c.csv", "x" * 400 + ".csv", 'quote".csv', "é\r\nX-Evil: 1.csv"])
def test_a_files_name_is_only_a_name(api: ApiOf, owner: User, acme: TenantRef, name: str) -> None:
    boundary = "b0undary"
    safe = name.replace('"', "%22").replace("\r\n", "%0D%0A")
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{safe}"\r\n'
        f"Content-Type: text/csv\r\n\r\n{FILE}\r\n--{boundary}--\r\n"
    ).encode()
    answer = send(api(owner), body, content_type=f"multipart/form-data; boundary={boundary}")
    assert answer.status_code in {202, 422}
    if answer.status_code == 202:
        job = run(acme, answer.json()["id"])
        assert job.state == "succeeded"
        assert not re.search(r"[/\r\n]", job.input_name)
        assert len(job.input_name) <= 200


def test_a_form_whose_boundary_is_wrong_is_4xx(api: ApiOf, owner: User) -> None:
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=other"):
        assert send(api(owner), FILE, content_type=content_type).status_code in {400, 422}


@pytest.mark.parametrize("count", [101, 1001])
def test_a_form_with_too_many_fields_or_files_is_4xx(api: ApiOf, owner: User, count: int) -> None:
    asking = api(owner)
    assert 400 <= send_form(asking, **{f"field{number}": "x" for number in range(count)}).status_code < 500
    files = {f"file{number}": SimpleUploadedFile("a.csv", FILE.encode()) for number in range(count)}
    assert 400 <= send_form(asking, **files).status_code < 500


def test_a_client_that_goes_away_while_it_sends_is_no_fault_of_ours(
    api: ApiOf, owner: User, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError

    answer = send(api(owner), FILE, **{"wsgi.input": Gone()})
    assert answer.status_code != 500
    assert "api_failed" not in caplog.text


def test_a_part_of_a_form_may_say_its_charset(api: ApiOf, owner: User, acme: TenantRef) -> None:
    boundary = "b0undary"
    for charset in ("utf-8", "hex", "idna"):
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'
            f"Content-Type: text/csv; charset={charset}\r\n\r\n{FILE}\r\n--{boundary}--\r\n"
        ).encode()
        answer = send(api(owner), body, content_type=f"multipart/form-data; boundary={boundary}")
        assert answer.status_code in {202, 422}


def test_a_slot_that_another_took_over_is_not_given_back_by_its_former_holder(settings: Any) -> None:
    import os
    import time

    from activity.jobs import slots

    slots.limit(2)
    settings.JOB_LEASE = 0.05
    try:
        with slots.slot() as had:
            assert had
            time.sleep(0.1)
            slots._write(0, os.getppid(), time.monotonic())  # another process took it over meanwhile
            slots.stamp()
        assert slots._SLOT.unpack_from(slots._memory, 0)[0] == os.getppid()
    finally:
        assert slots._lock is not None
        slots._lock.close()
        slots._count = slots._lock = slots._mine = None


def test_a_client_that_sends_no_content_type_is_taken(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    client = Client(raise_request_exception=False, HTTP_HOST=asking.host)
    headers = {"Authorization": f"Bearer {asking.token}"}
    answer = client.generic("POST", "/api/v1/members/import", FILE, "", headers=headers)
    assert answer.status_code == 202
