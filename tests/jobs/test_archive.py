"""The archive holds all of the tenant and nothing else, says what it holds, and tells no secret."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.models import Invitation, User
from activity.archive import build, parts
from activity.archive.build import write_archive
from activity.archive.parts import Entry, archive_part
from activity.jobs.errors import HandedBack
from activity.jobs.services import job_start
from activity.relay import relay
from tenants.context import use_tenant
from tests.accounts.conftest import Api, ApiOf
from tests.jobs.conftest import Lasting, body_of, run

SECRET = "f" * 64
MIB = 1024 * 1024


@pytest.fixture
def own_part() -> Iterator[Any]:
    """Parts that a test registers go with it."""
    before = dict(parts._parts)
    yield archive_part
    parts._parts.clear()
    parts._parts.update(before)


def archive_of(asking: Api, lasting: Lasting) -> tuple[Any, dict[str, bytes]]:
    """Have the archive made: the job, and the content by name."""
    answer = asking.post("/jobs", {"kind": "tenant.archive"})
    assert answer.status_code == 202, answer.content
    job = run(lasting.ref, answer.json()["id"])
    assert job.state == "succeeded", job.error
    file = lasting.get(asking, f"/jobs/{job.pk}/result")
    assert file["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body_of(file))) as archive:
        assert archive.testzip() is None
        return job, {name: archive.read(name) for name in archive.namelist()}


def rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


@pytest.fixture
def filled(lasting: Lasting) -> Iterator[Lasting]:
    with use_tenant(lasting.ref):
        User.objects.filter(email="grace@archive.example").delete()
        person = User.objects.create_user("grace@archive.example", "a-Long-passw0rd", name="Grace", role="viewer")
        Invitation.objects.filter(email="new@archive.example").delete()
        Invitation.objects.create(
            email="new@archive.example",
            token_hash=SECRET,
            invited_by=lasting.owner,
            expires_at=timezone.now() + timedelta(days=1),
        )
        name = default_storage.save("logos/acme.png", ContentFile(b"\x89PNG"))
        job_start(kind="members.export")
        relay(lasting.ref)
    yield lasting
    with use_tenant(lasting.ref):
        default_storage.delete(name)
        person.delete()


def test_it_holds_everything_and_its_manifest_tells_it_truly(filled: Lasting, lasting_api: Api) -> None:
    job, found = archive_of(lasting_api, filled)
    manifest = json.loads(found.pop("manifest.json"))
    assert manifest["tenant"]["slug"] == filled.ref.slug
    assert {entry["name"] for entry in manifest["files"]} == set(found)
    for entry in manifest["files"]:
        content = found[entry["name"]]
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        if entry["name"].endswith(".ndjson"):
            assert entry["rows"] == len(rows(content))
    with use_tenant(filled.ref):
        emails = set(User.objects.values_list("email", flat=True))
    assert {row["email"] for row in rows(found["members/members.ndjson"])} == emails
    assert rows(found["invitations/invitations.ndjson"])[0]["email"] == "new@archive.example"
    assert json.loads(found["settings/tenant.json"])["slug"] == filled.ref.slug
    assert str(job.pk) in {row["id"] for row in rows(found["jobs/jobs.ndjson"])}
    assert [content for name, content in found.items() if name.startswith("files/logos/")] == [b"\x89PNG"]
    assert "job.started" in {row["action"] for row in rows(found["activity/activity.ndjson"])}
    assert rows(found["activity/activity-proof.ndjson"])[0]["kind"] == "export"
    assert job.counts["files"] == len(found)


def test_no_secret_is_in_it(filled: Lasting, lasting_api: Api) -> None:
    with use_tenant(filled.ref):
        password = User.objects.get(email="grace@archive.example").password
        database_password = filled.ref.database
    _, found = archive_of(lasting_api, filled)
    everything = b"\n".join(found.values())
    assert b"grace@archive.example" in everything  # the control: it is looked for where it would be
    for secret in (SECRET, password, lasting_api.token, database_password):
        assert secret.encode() not in everything
    for name in (b"token_hash", b"pbkdf2_", b"argon2", b'"password"', b"session_epoch"):
        assert name not in everything


def test_mails_of_the_development_s_backend_are_not_in_it(filled: Lasting, lasting_api: Api) -> None:
    """They have links that sign in."""
    with use_tenant(filled.ref):
        names = [default_storage.save(f"{folder}/sent.eml", ContentFile(b"a link")) for folder in ("mail", "other")]
    try:
        _, found = archive_of(lasting_api, filled)
        assert [name in found for name in ("files/mail/sent.eml", "files/other/sent.eml")] == [False, True]
    finally:
        with use_tenant(filled.ref):
            for name in names:
                default_storage.delete(name)


def test_an_archive_does_not_hold_the_one_before(filled: Lasting, lasting_api: Api) -> None:
    first, _ = archive_of(lasting_api, filled)
    export = lasting_api.post("/jobs", {"kind": "members.export"}).json()["id"]
    run(filled.ref, export)
    _, found = archive_of(lasting_api, filled)
    files = [name for name in found if name.startswith("files/jobs/")]
    assert [name for name in files if export in name]  # the control: another job's file is there
    assert not [name for name in files if str(first.pk) in name]


def test_another_tenants_data_is_not_in_it(filled: Lasting, lasting_api: Api, acme: Any, owner: User) -> None:
    with use_tenant(acme):
        default_storage.save("secret/acme.txt", ContentFile(b"only acme's"))
    try:
        _, found = archive_of(lasting_api, filled)
        assert b"only acme's" not in b"".join(found.values())
        assert owner.email.encode() not in b"".join(found.values())
    finally:
        with use_tenant(acme):
            default_storage.delete("secret/acme.txt")


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_others_than_owners_and_admins_may_not(request: Any, api: ApiOf, role: str) -> None:
    asking = api(request.getfixturevalue(role))
    assert asking.post("/jobs", {"kind": "tenant.archive"}).status_code == 403


@pytest.mark.parametrize("scopes", [["read", "jobs.write"], ["write"], ["read", "write"]])
def test_a_token_needs_the_scope_by_its_name(api: ApiOf, admin: User, scopes: list[str]) -> None:
    assert api(admin, scopes=scopes).post("/jobs", {"kind": "tenant.archive"}).status_code == 403
    named = api(admin, scopes=["jobs.write", "tenant.archive"])
    assert named.post("/jobs", {"kind": "tenant.archive"}).status_code == 202


def test_an_app_adds_its_part(own_part: Any, filled: Lasting, lasting_api: Api) -> None:
    @own_part("invoices")
    def invoices() -> Iterator[Entry]:
        yield Entry("2026/invoices.ndjson", [b'{"number": 1}\n', b'{"number": 2}\n'])

    _, found = archive_of(lasting_api, filled)
    assert rows(found["invoices/2026/invoices.ndjson"]) == [{"number": 1}, {"number": 2}]
    with pytest.raises(ValueError, match="already"):
        own_part("invoices")(list)
    with pytest.raises(ValueError, match="small letters"):
        own_part("../etc")


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/passwd", "a/../../b", "a\\b", ""])
def test_no_entry_leaves_its_folder(own_part: Any, filled: Lasting, name: str) -> None:
    own_part("bad")(lambda: [Entry(name, [b"x"])])
    with use_tenant(filled.ref), pytest.raises(ValueError, match="no name of a file"):
        write_archive(io.BytesIO(), lambda files: None)


class Sink(io.RawIOBase):
    """Takes what is written and keeps nothing; it can't be seeked, as a socket can't."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)


def test_memory_does_not_grow_with_the_data(own_part: Any, filled: Lasting) -> None:
    """64 MiB here; its peak is that of blocks of 256 KiB."""
    own_part("large")(lambda: [Entry("large.bin", (bytes(256 * 1024) for _ in range(256)))])
    sink = Sink()
    with use_tenant(filled.ref):
        tracemalloc.start()
        try:
            manifest = write_archive(sink, lambda files: None)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert max(entry["bytes"] for entry in manifest["files"]) == 64 * MIB
    assert peak < 16 * MIB


def test_an_attempt_that_died_begins_anew(filled: Lasting, lasting_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it had written is nowhere."""
    whole = build.write_archive
    tries: list[int] = []

    def dies_once(file: Any, progress: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            file.write(b"half")
            raise HandedBack(reason="the worker stops")
        return whole(file, progress)

    monkeypatch.setattr("activity.archive.jobs.write_archive", dies_once)
    job_id = lasting_api.post("/jobs", {"kind": "tenant.archive"}).json()["id"]
    assert run(filled.ref, job_id).state == "queued"
    job = run(filled.ref, job_id)
    assert (job.state, len(tries)) == ("succeeded", 2)
    with zipfile.ZipFile(io.BytesIO(body_of(filled.get(lasting_api, f"/jobs/{job_id}/result")))) as archive:
        assert "manifest.json" in archive.namelist()
