"""The log as a job's file: the same as the streamed one, and read once, whatever happens to the worker."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import transaction

from accounts.models import User
from activity.erasure.forget import forget
from activity.errors import LogUnavailable
from activity.jobs import log_export
from activity.jobs.errors import HandedBack
from activity.jobs.models import Job
from activity.jobs.services import job_cancel
from activity.outbox import record
from activity.relay import relay
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api
from tests.accounts.pages.conftest import SignedIn
from tests.activity.conftest import report
from tests.jobs.conftest import Lasting, body_of, run, table

EVENTS = 120


@pytest.fixture(scope="module")
def events(lasting: Lasting, django_db_blocker: Any) -> int:
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        with transaction.atomic():
            for number in range(EVENTS):
                record(report(number))
        relay(lasting.ref)
    return EVENTS


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_export, "PORTION", 10)
    monkeypatch.setattr(log_export, "PART_EVENTS", 30)


def started(asking: Api, **params: str) -> str:
    answer = asking.post("/jobs", {"kind": "activity.export", "params": params})
    assert answer.status_code == 202, answer.content
    found: str = answer.json()["id"]  # type: ignore[attr-defined]
    return found


def result(lasting: Lasting, asking: Api, job_id: str) -> bytes:
    return body_of(lasting.get(asking, f"/jobs/{job_id}/result"))


def parts(lasting: Lasting, job_id: str) -> list[str]:
    with use_tenant(lasting.ref):
        return [name for name in default_storage.listdir(f"jobs/{job_id}")[1] if name.startswith("part-")]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_the_file_is_the_streamed_one(
    lasting_api: Api, lasting: Lasting, events: int, small_parts: None, form: str
) -> None:
    params = {"action": "report.", "order": "oldest", "from": "2026-01-01"}
    streamed = body_of(lasting_api.get(f"/activity.{form}?action=report.&order=oldest&from=2026-01-01"))
    job_id = started(lasting_api, format=form, **params)
    job = run(lasting.ref, job_id)
    assert (job.state, job.result_name, job.counts["rows"]) == ("succeeded", f"activity.{form}", events)
    assert result(lasting, lasting_api, job_id) == streamed
    assert parts(lasting, job_id) == []
    assert job.params["from"].startswith("2026-01-01")


def test_an_attempt_that_dies_is_gone_on_with(
    lasting_api: Api, lasting: Lasting, events: int, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = started(lasting_api, format="ndjson", action="report.")
    read, take = [], log_export.take

    def dying(walk: Any, limit: int) -> Any:
        if len(read) == 70:
            raise HandedBack(reason="the worker stops")
        found = take(walk, limit)
        read.extend(row["seq"] for row in found)
        return found

    monkeypatch.setattr(log_export, "take", dying)
    assert run(lasting.ref, job_id).state == "queued"
    assert len(parts(lasting, job_id)) == 2
    read.append(0)  # past the place
    job = run(lasting.ref, job_id)
    assert job.state == "succeeded"
    lines = result(lasting, lasting_api, job_id).splitlines()
    assert len(lines) == len(set(lines)) == events == job.done
    assert len(read) - 1 == events + 10  # but for what the attempt had read of the part that it didn't end
    assert parts(lasting, job_id) == []


def test_while_mongodb_is_away_it_waits_and_gives_its_place_to_others(
    lasting_api: Api, lasting: Lasting, events: int, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = started(lasting_api, action="report.")
    take = log_export.take

    def away(walk: Any, limit: int) -> Any:
        raise LogUnavailable("away")

    monkeypatch.setattr(log_export, "take", away)
    monkeypatch.setattr(log_export, "PATIENCE", 0.0)
    job = run(lasting.ref, job_id)
    assert (job.state, job.stalls) == ("queued", 0)
    monkeypatch.setattr(log_export, "take", take)
    assert run(lasting.ref, job_id).state == "succeeded"
    assert len(table(result(lasting, lasting_api, job_id))) == events + 1


def test_a_cancelled_export_leaves_no_part(
    lasting_api: Api, lasting: Lasting, events: int, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = started(lasting_api, action="report.")
    join = log_export._join

    def cancelled_meanwhile(job_run: Any, form: Any) -> None:
        assert parts(lasting, job_id)
        job_cancel(job=Job.objects.get(pk=job_id))
        join(job_run, form)

    monkeypatch.setattr(log_export, "_join", cancelled_meanwhile)
    assert run(lasting.ref, job_id).state == "cancelled"
    assert parts(lasting, job_id) == []


def test_one_that_was_handed_back_leaves_no_part_when_it_is_cancelled(
    lasting_api: Api, lasting: Lasting, events: int, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = handed_back(lasting_api, lasting, monkeypatch)
    with use_tenant(lasting.ref):
        job_cancel(job=Job.objects.get(pk=job_id))
    assert parts(lasting, job_id) == []


def test_an_erasure_takes_the_parts_and_it_begins_anew(
    lasting_api: Api, lasting: Lasting, events: int, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = handed_back(lasting_api, lasting, monkeypatch)
    with use_tenant(lasting.ref):
        with transaction.atomic():
            forget(["0" * 32])
        job = Job.objects.get(pk=job_id)
    assert (parts(lasting, job_id), job.checkpoint, job.done) == ([], {}, 0)
    job = run(lasting.ref, job_id)
    assert (job.state, job.done) == ("succeeded", events)


def handed_back(asking: Api, lasting: Lasting, monkeypatch: pytest.MonkeyPatch) -> str:
    """An export that was interrupted behind its first parts."""
    job_id = started(asking, format="ndjson", action="report.")
    takes, take = [], log_export.take

    def stopping(walk: Any, limit: int) -> Any:
        takes.append(limit)
        if len(takes) == 8:
            raise HandedBack(reason="the worker stops")
        return take(walk, limit)

    with monkeypatch.context() as stopped:
        stopped.setattr(log_export, "take", stopping)
        assert run(lasting.ref, job_id).state == "queued"
    assert len(parts(lasting, job_id)) == 2
    return job_id


def test_parameters_are_those_of_the_list(lasting_api: Api, lasting: Lasting) -> None:
    for params in ({"limit": "5"}, {"actor": "nobody"}, {"format": "xml"}, {"order": "random"}):
        answer = lasting_api.post("/jobs", {"kind": "activity.export", "params": params})
        assert answer.status_code == 422, params
        assert list(answer.json()["errors"]) == [f"params.{next(iter(params))}"]  # type: ignore[attr-defined]


def test_the_page_starts_one_with_its_filters(signed_in: SignedIn, acme: TenantRef, owner: User) -> None:
    client = signed_in(owner)
    page = client.get("/activity?action=member.&q=&order=oldest").content.decode()
    assert '<input type="hidden" name="action" value="member.">' in page
    assert 'name="q" value=""' not in page
    answer = client.post("/activity/export", {"format": "ndjson", "action": "member.", "order": "oldest", "next": "x"})
    assert answer.status_code == 302
    with use_tenant(acme):
        job = Job.objects.get(pk=answer["Location"].rpartition("/")[2])
    assert (job.kind, job.params["action"], job.params["format"]) == ("activity.export", "member.", "ndjson")
    assert client.post("/activity/export", {"format": "xml"})["Location"] == "/activity"


def test_who_may_only_read_gets_a_link_to_the_streamed_file(signed_in: SignedIn, viewer: User) -> None:
    client = signed_in(viewer)
    page = client.get("/activity?action=member.").content.decode()
    assert 'href="/api/v1/activity.csv?action=member."' in page
    assert client.post("/activity/export", {"format": "csv"}).status_code == 403
    answer = client.get("/api/v1/activity.csv?action=member.")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
