"""A file that waits for somebody to say which column is which: shown to its sender alone, started once, gone in time."""

from __future__ import annotations

import io
import os
import re
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.imports import waiting
from accounts.models import User, WaitingImport
from accounts.tasks import prune
from activity.archive.own_parts import files_part
from activity.erasure.signals import person_erased
from activity.jobs.models import Job
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import members, run
from tests.jobs.test_pages import html, last_job
from tests.jobs.workbooks import written

FILE = "Work mail;Called;Position;Notes\nann@example.com;Ann;viewer;<b>\nbob@example.com;Bob;;\n"
CHOSEN = {"column-0": "email", "column-1": "name", "column-2": "role", "column-3": "", "mode": "create_and_update"}


@pytest.fixture(autouse=True)
def no_waiting_files_left(acme: TenantRef) -> Any:
    yield
    with use_tenant(acme):
        for name in stored():
            default_storage.delete(name)


def stored() -> list[str]:
    """The files of the active tenant that wait."""
    try:
        return [f"{waiting.FOLDER}/{name}" for name in default_storage.listdir(waiting.FOLDER)[1]]
    except FileNotFoundError:
        return []


def send(client: Client, content: str | bytes = FILE, name: str = "people.csv") -> str:
    """Send a file; answers where its page is."""
    data = content if isinstance(content, bytes) else content.encode()
    answer = client.post("/members/import/upload", {"file": SimpleUploadedFile(name, data)})
    assert answer.status_code == 302, answer.content
    place: str = answer["Location"]
    return place


def chosen(page: str) -> list[str]:
    """What each column is, as the page has it."""
    selects = re.findall(r'<select[^>]*name="column-\d+".*?</select>', page, re.DOTALL)
    return [(re.findall(r'<option value="(\w*)" selected', one) or [""])[0] for one in selects]


def test_the_page_shows_what_was_found_out_and_the_first_rows(
    signed_in: SignedIn, admin: User, acme: TenantRef
) -> None:
    client = signed_in(admin)
    page = html(client.get(send(client)))
    assert "CSV, UTF-8, columns separated by semicolon" in page
    assert chosen(page) == ["", "", "", ""]  # nothing here has a name that is known
    assert "ann@example.com" in page
    assert "&lt;b&gt;" in page
    with use_tenant(acme):
        assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("content", "shown", "columns", "rows"),
    [
        (b"E-Mail\tFull name\tx\n" + b"a@example.com\t\t\n" * 12, "CSV, UTF-8, columns separated by tab", ["email", "name", ""], 10),
        ("role,mail,email\nviewer,a,b\n".encode("utf-16"), "CSV, UTF-16, columns separated by comma", ["role", "email", ""], 1),
        ("email,name\nz@example.com,Zoë\n".encode("cp1252"), "CSV, Windows-1252, columns", ["email", "name"], 1),
        (b'{"mail":"a@example.com","who":"Ann"}\nnonsense\n', "NDJSON, UTF-8", ["email", ""], 2),
        (b"email\n", "CSV, UTF-8", ["email"], 0),
    ],
)  # fmt: skip
def test_columns_are_proposed_by_their_names(
    signed_in: SignedIn, admin: User, content: bytes, shown: str, columns: list[str], rows: int
) -> None:
    client = signed_in(admin)
    page = html(client.get(send(client, content)))
    assert shown in page
    assert chosen(page) == columns
    assert page.count('<th scope="row"') == rows
    assert ("There are no rows" in page) == (rows == 0)


def test_a_workbook_is_shown_and_started(signed_in: SignedIn, admin: User, acme: TenantRef) -> None:
    file = written([["Email", "Name"], ["ann@example.com", "Ann"]])
    client = signed_in(admin)
    place = send(client, file.getvalue(), "people.xlsx")
    page = html(client.get(place))
    assert "XLSX" in page
    assert "separated" not in page
    assert chosen(page) == ["email", "name"]
    client.post(f"{place}/start", {"column-0": "email", "column-1": "name", "mode": "create_only"})
    run(acme, last_job(acme).pk)
    assert members(acme)["ann@example.com"] == ("Ann", "member")


def test_it_is_started_as_was_chosen_and_once(signed_in: SignedIn, admin: User, acme: TenantRef) -> None:
    client = signed_in(admin)
    place = send(client)
    with use_tenant(acme):
        assert len(stored()) == 1
    answer = client.post(f"{place}/start", CHOSEN)
    job = last_job(acme)
    assert (answer.status_code, answer["Location"]) == (302, f"/jobs/{job.pk}")
    assert job.input_name == "people.csv"
    assert job.params["columns"] == {"email": 0, "name": 1, "role": 2}
    run(acme, job.pk)
    assert members(acme)["ann@example.com"] == ("Ann", "viewer")
    with use_tenant(acme):
        assert not WaitingImport.objects.exists()
    for again in (client.post(f"{place}/start", CHOSEN, follow=True), client.get(place, follow=True)):
        assert "Choose it again" in html(again)
    with use_tenant(acme):
        assert Job.objects.count() == 1


def test_after_a_dry_run_it_waits_on_and_the_jobs_page_leads_back(
    signed_in: SignedIn, admin: User, viewer: User, acme: TenantRef
) -> None:
    client = signed_in(admin)
    place = send(client)
    before = members(acme)
    client.post(f"{place}/start", {**CHOSEN, "dry_run": "on"})
    job = run(acme, last_job(acme).pk)
    assert (job.state, job.counts["created"]) == ("succeeded", 2)
    assert members(acme) == before
    page = html(client.get(f"/jobs/{job.pk}"))
    assert "This is a dry run" in page
    assert f'href="{place}"' in page
    assert "Every row can be taken." in page
    assert place not in html(signed_in(viewer).get(f"/jobs/{job.pk}"))
    assert chosen(html(client.get(place))) == ["email", "name", "role", ""]
    client.post(f"{place}/start", CHOSEN)
    run(acme, last_job(acme).pk)
    assert len(members(acme)) == len(before) + 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"column-0": ""}, "Say which column holds the e-mail address."),
        ({"column-1": "email"}, "Only one column can be the email."),
        ({"column-9": "role", "column-2": ""}, "The file has no such column."),
        ({"column-1": "password"}, "The file has no such column."),
        ({"mode": "replace"}, "Select a valid choice."),
        ({"mode": ""}, "This field is required."),
    ],
)
def test_what_can_not_be_is_422_and_keeps_what_was_chosen(
    signed_in: SignedIn, admin: User, acme: TenantRef, changes: dict[str, str], sentence: str
) -> None:
    client = signed_in(admin)
    place = send(client)
    page = html(client.post(f"{place}/start", {**CHOSEN, "dry_run": "on", **changes}), 422)
    assert sentence in page
    assert chosen(page)[2] == {**CHOSEN, **changes}["column-2"]
    assert re.search(r'name="dry_run"[^>]*checked', page)
    with use_tenant(acme):
        assert not Job.objects.exists()
        assert WaitingImport.objects.count() == 1


def test_it_is_its_senders_alone(
    signed_in: SignedIn, admin: User, owner: User, viewer: User, acme: TenantRef, stranger: User, globex: TenantRef
) -> None:
    place = send(signed_in(admin))
    other = signed_in(owner)
    assert "Choose it again" in html(other.get(place, follow=True))
    assert "Choose it again" in html(other.post(f"{place}/start", CHOSEN, follow=True))
    other.post(f"{place}/remove")
    html(signed_in(viewer).get(place), 403)
    html(signed_in(viewer).post(f"{place}/start", CHOSEN), 403)
    elsewhere = Client(HTTP_HOST="globex.localhost", raise_request_exception=False)
    with use_tenant(globex):
        elsewhere.force_login(stranger)
    assert "ann@example.com" not in html(elsewhere.get(place, follow=True))
    elsewhere.post(f"{place}/start", CHOSEN)
    for ref in (acme, globex):
        with use_tenant(ref):
            assert not Job.objects.exists()
    with use_tenant(acme):
        assert WaitingImport.objects.count() == len(stored()) == 1
    html(signed_in(admin).get(place))  # the control


def test_without_asking_whose_it_is_another_would_see_it(
    signed_in: SignedIn, admin: User, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    place = send(signed_in(admin))
    monkeypatch.setattr(waiting, "_find", lambda among, by, waiting_id: among.get(pk=waiting_id))
    assert "ann@example.com" in html(signed_in(owner).get(place))


def test_it_is_thrown_away(signed_in: SignedIn, admin: User, acme: TenantRef) -> None:
    client = signed_in(admin)
    place = send(client)
    assert client.post(f"{place}/remove")["Location"] == "/members/import"
    with use_tenant(acme):
        assert not WaitingImport.objects.exists()


def test_one_that_has_expired_is_not_started_and_goes_with_its_file(
    signed_in: SignedIn, admin: User, acme: TenantRef, django_capture_on_commit_callbacks: Any
) -> None:
    client = signed_in(admin)
    place = send(client)
    kept = send(client)
    waiting_id = UUID(place.rpartition("/")[2])
    with use_tenant(acme):
        WaitingImport.objects.filter(pk=waiting_id).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "Choose it again" in html(client.get(place, follow=True))
    assert "Choose it again" in html(client.post(f"{place}/start", CHOSEN, follow=True))
    with use_tenant(acme):
        orphan = default_storage.save(f"{waiting.FOLDER}/orphan", io.BytesIO(b"x"))  # type: ignore[arg-type]
        new = default_storage.save(f"{waiting.FOLDER}/being-sent", io.BytesIO(b"x"))  # type: ignore[arg-type]
        past = time.time() - 3 * 60 * 60
        os.utime(default_storage.path(orphan), (past, past))
        with django_capture_on_commit_callbacks(execute=True, using="default"):
            assert waiting.waiting_prune() == 2
        assert sorted(stored()) == sorted([new, f"{waiting.FOLDER}/{kept.rpartition('/')[2]}"])
        assert WaitingImport.objects.count() == 1


def test_files_of_apps_are_none_of_them(tenant: TenantRef) -> None:
    own = default_storage.save("imports/own.csv", io.BytesIO(b"x"))  # type: ignore[arg-type]
    past = time.time() - 3 * 60 * 60
    os.utime(default_storage.path(own), (past, past))
    try:
        waiting.waiting_prune()
        assert default_storage.exists(own)
        assert own in {entry.name for entry in files_part()}
    finally:
        default_storage.delete(own)


def test_the_daily_upkeep_throws_expired_ones_away(signed_in: SignedIn, admin: User, acme: TenantRef) -> None:
    send(signed_in(admin))
    with use_tenant(acme):
        WaitingImport.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        prune.run()
        assert not WaitingImport.objects.exists()


def test_somebody_has_a_few_at_once(signed_in: SignedIn, admin: User, owner: User, acme: TenantRef) -> None:
    others = send(signed_in(owner))
    client = signed_in(admin)
    places = [send(client) for _ in range(waiting.KEPT + 2)]
    with use_tenant(acme):
        found = {f"/members/import/{pk}" for pk in WaitingImport.objects.values_list("pk", flat=True)}
    assert found == {others, *places[2:]}


def test_they_go_when_a_person_is_erased(signed_in: SignedIn, admin: User, acme: TenantRef) -> None:
    send(signed_in(admin))
    with use_tenant(acme):
        person_erased.send(sender=None, subjects=set())
        assert not WaitingImport.objects.exists()


def test_one_whose_file_is_gone_is_chosen_again(signed_in: SignedIn, admin: User, acme: TenantRef) -> None:
    client = signed_in(admin)
    place = send(client)
    with use_tenant(acme):
        default_storage.delete(stored()[0])
    assert "Choose it again" in html(client.get(place, follow=True))
    assert "Choose it again" in html(client.post(f"{place}/start", CHOSEN, follow=True))
    with use_tenant(acme):
        assert not Job.objects.exists()


def test_it_is_in_no_archive(signed_in: SignedIn, admin: User, acme: TenantRef) -> None:
    send(signed_in(admin))
    with use_tenant(acme):
        default_storage.save("others/file", io.BytesIO(b"x"))  # type: ignore[arg-type]  # the control
        try:
            assert [entry.name for entry in files_part()] == ["others/file"]
        finally:
            default_storage.delete("others/file")


@pytest.mark.parametrize(
    ("content", "word"),
    [(",,\n", "The first line must name the columns"), ('"email\n', "quotation mark"), (b"PK\x03\x04", "isn't an Excel workbook"),
     ('email\n"x\n', "Row 2 opens a quotation mark"), ("a" + ",a" * 500 + "\n", "more than 500 columns"), ('[{"email":1}]', "NDJSON")],
)  # fmt: skip
def test_a_file_that_can_not_be_shown_is_refused_at_once(
    signed_in: SignedIn, admin: User, acme: TenantRef, content: str | bytes, word: str
) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    answer = signed_in(admin).post("/members/import/upload", {"file": SimpleUploadedFile("a", data)})
    assert word in html(answer, 422).replace("&#x27;", "'")
    with use_tenant(acme):
        assert not WaitingImport.objects.exists()
        assert not stored()
