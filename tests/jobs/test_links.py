"""Signed links to a job's file: good without a session, for their time, on their tenant's host, as long as the file is there."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.files import File
from django.test import Client
from django.utils import timezone

from accounts.models import User
from activity.jobs import cleanup, files, links
from activity.jobs.models import Job
from activity.jobs.services import job_start
from tenants import logs
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import body_of, events_of

CONTENT = b"id,email\n1,ada@example.com\n"


@pytest.fixture
def finished(acme: TenantRef, owner: User) -> Job:
    with use_tenant(acme):
        job = job_start(kind="members.export")
        job.attempt = 1
        name = files.save_result(job, File(io.BytesIO(CONTENT)))
        Job.objects.filter(pk=job.pk).update(
            state="succeeded", attempt=1, result_file=name, result_name="members.csv", finished_at=timezone.now()
        )
        return Job.objects.get(pk=job.pk)


def host_of(ref: TenantRef) -> str:
    return f"{ref.slug}.localhost"


def visit(url: str, host: str) -> Any:
    """As somebody who has the link and nothing else."""
    parts = urlsplit(url)
    answer: Any = Client(raise_request_exception=False, HTTP_HOST=host).get(f"{parts.path}?{parts.query}")
    answer.body = body_of(answer)
    return answer


def link_of(api: ApiOf, owner: User, job: Job, **body: Any) -> dict[str, Any]:
    answer = api(owner).post(f"/jobs/{job.pk}/link", body)
    assert answer.status_code == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


def test_a_link_is_the_file_without_a_session(api: ApiOf, owner: User, finished: Job, acme: TenantRef) -> None:
    link = link_of(api, owner, finished)
    lasts = datetime.fromisoformat(link["expires_at"]) - timezone.now()
    assert 14 * 60 < lasts.total_seconds() <= 15 * 60
    answer = visit(link["url"], host_of(acme))
    assert (answer.status_code, answer.body) == (200, CONTENT)
    assert answer["Content-Disposition"] == 'attachment; filename="members.csv"'
    assert "no-store" in answer["Cache-Control"]
    # The control: the same address without its query is nobody's.
    assert visit(urlsplit(link["url"]).path, host_of(acme)).status_code == 404


def test_the_page_with_a_new_link_is_the_jobs_page(
    signed_in: SignedIn, owner: User, finished: Job, acme: TenantRef
) -> None:
    """Without JavaScript too, it shows what the page before showed."""
    with use_tenant(acme):
        finished.lines.create(sentence="It was made.")
    page = signed_in(owner).post(f"/jobs/{finished.pk}/link", {"expires_in": "900"}).content.decode()
    assert "signature=" in page
    assert "It was made." in page


@pytest.mark.parametrize("seconds", [59, 7 * 24 * 3600 + 1])
def test_a_link_holds_a_minute_to_seven_days(api: ApiOf, owner: User, finished: Job, seconds: int) -> None:
    answer = api(owner).post(f"/jobs/{finished.pk}/link", {"expires_in": seconds})
    assert answer.status_code == 422
    link_of(api, owner, finished, expires_in=links.LONGEST)


def test_another_tenants_host_knows_no_such_link(
    api: ApiOf, owner: User, finished: Job, acme: TenantRef, tenants: dict[str, TenantRef]
) -> None:
    """Even where the same job and file are there: the key is the tenant's, and so is the salt."""
    link = link_of(api, owner, finished)
    other = next(ref for ref in tenants.values() if ref.id != acme.id)
    with use_tenant(other):
        copy = Job.objects.get(pk=finished.pk) if Job.objects.filter(pk=finished.pk).exists() else None
        assert copy is None
        Job(**{field.attname: getattr(finished, field.attname) for field in Job._meta.concrete_fields}).save(
            force_insert=True
        )
        files.save_result(finished, File(io.BytesIO(b"the other's")))
    answer = visit(link["url"], host_of(other))
    assert answer.status_code == 404
    assert b"the other's" not in answer.body
    assert visit(link["url"], host_of(acme)).status_code == 200


@pytest.mark.parametrize("change", ["signature", "expires", "job", "empty", "text"])
def test_an_altered_link_is_404(api: ApiOf, owner: User, finished: Job, acme: TenantRef, change: str) -> None:
    url = link_of(api, owner, finished)["url"]
    parts = dict(pair.split("=") for pair in urlsplit(url).query.split("&"))
    path = urlsplit(url).path
    if change == "signature":
        parts["signature"] = parts["signature"][:-2] + ("AA" if parts["signature"][-2:] != "AA" else "BB")
    elif change == "expires":
        parts["expires"] = str(int(parts["expires"]) + 1)
    elif change == "text":
        parts["expires"] = "²"
    elif change == "empty":
        parts["signature"] = ""
    else:
        with use_tenant(acme):
            other = job_start(kind="members.export")
            Job.objects.filter(pk=other.pk).update(
                attempt=1, result_file=finished.result_file, result_name="members.csv"
            )
        path = f"/jobs/{other.pk}/file"
    answer = visit(f"{path}?expires={parts['expires']}&signature={parts['signature']}", host_of(acme))
    assert answer.status_code == 404
    assert b"This link is not complete" in answer.body


def test_an_expired_link_says_so(
    api: ApiOf, owner: User, finished: Job, acme: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = link_of(api, owner, finished)["url"]
    now = links.time.time()
    monkeypatch.setattr(links.time, "time", lambda: now + 15 * 60 + 1)
    answer = visit(url, host_of(acme))
    assert answer.status_code == 410
    assert b"This link has expired" in answer.body


def test_a_link_ends_with_its_file(api: ApiOf, owner: User, finished: Job, acme: TenantRef) -> None:
    url = link_of(api, owner, finished)["url"]
    with use_tenant(acme):
        cleanup._remove(finished, reason="age")
    answer = visit(url, host_of(acme))
    assert answer.status_code == 410
    assert b"was removed" in answer.body
    assert api(owner).post(f"/jobs/{finished.pk}/link").status_code == 404


def test_a_file_that_somebody_deleted_is_410(api: ApiOf, owner: User, finished: Job, acme: TenantRef) -> None:
    url = link_of(api, owner, finished)["url"]
    with use_tenant(acme):
        files.delete(finished.result_file)
    assert visit(url, host_of(acme)).status_code == 410


def test_making_one_needs_the_right_to_see_the_file(api: ApiOf, owner: User, member: User, finished: Job) -> None:
    assert api(member).post(f"/jobs/{finished.pk}/link").status_code == 403
    assert api(owner, scopes=["jobs.read", "jobs.write"]).post(f"/jobs/{finished.pk}/link").status_code == 403


def test_who_made_it_is_in_the_log_and_the_signature_is_not(
    api: ApiOf, owner: User, finished: Job, acme: TenantRef
) -> None:
    link = link_of(api, owner, finished)
    (event,) = [event for event in events_of(acme, finished.pk) if event["action"] == "job.file_linked"]
    assert event["data"]["file"] == "members.csv"
    assert urlsplit(link["url"]).query.split("signature=")[1] not in str(event)


@pytest.fixture
def written() -> Iterator[list[str]]:
    """All that is logged, as it would be written."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root = logging.getLogger()
    keep = Keep()
    keep.setFormatter(root.handlers[0].formatter if root.handlers else None)
    shown = next((handler for handler in root.handlers if handler.formatter is not None), None)
    if shown is not None:
        keep.setFormatter(shown.formatter)
    root.addHandler(keep)
    yield lines
    root.removeHandler(keep)


def test_no_log_line_has_the_signature(
    api: ApiOf, owner: User, finished: Job, acme: TenantRef, written: list[str]
) -> None:
    link = link_of(api, owner, finished)
    visit(link["url"], host_of(acme))
    signature = urlsplit(link["url"]).query.split("signature=")[1]
    said = f"GET {link['url']} HTTP/1.1"
    assert signature in said  # the control
    assert signature not in logs.redact_text(said)
    assert not [line for line in written if signature in line]


def test_the_page_makes_a_link_and_offers_none_for_a_file_that_is_gone(
    signed_in: SignedIn, owner: User, finished: Job, acme: TenantRef
) -> None:
    client = signed_in(owner)
    page = client.get(f"/jobs/{finished.pk}").content.decode()
    assert "Make a link" in page
    answer = client.post(f"/jobs/{finished.pk}/link", {"expires_in": "86400"}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert f"/jobs/{finished.pk}/file?expires=" in answer.content.decode()
    whole = client.post(f"/jobs/{finished.pk}/link", {"expires_in": "86400"}).content.decode()
    assert "<h1>" in whole
    assert f"/jobs/{finished.pk}/file?expires=" in whole
    with use_tenant(acme):
        cleanup._remove(finished, reason="age")
    page = client.get(f"/jobs/{finished.pk}").content.decode()
    assert "members.csv was removed on" in page
    assert "Make a link" not in page
    assert "Download" not in page.split('id="job"')[1]
