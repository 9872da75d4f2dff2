"""Limits of storage, of requests and of seconds of jobs: each refuses what takes more, and nothing that makes room or only reads."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts.models import User
from activity.jobs.errors import JobFailed
from activity.jobs.files import parts_of, save_part
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.services import Input, job_retry, job_start
from activity.jobs.testing import job_done, job_run
from tenants import disk, usage
from tenants.context import use_control, use_tenant
from tenants.errors import PlanLimitReached
from tenants.models import JobSummary
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import Lasting, lasting, send  # noqa: F401  a fixture
from tests.jobs.kinds import Kinds
from tests.usage.conftest import used_storage

MIB = 1024 * 1024


@pytest.fixture
def asking(api: ApiOf, owner: User) -> Api:
    return api(owner)


# --- Storage ---------------------------------------------------------------------------------------------------------------


def test_files_below_folders_are_all_added_up(tenant: TenantRef) -> None:
    before = disk.file_bytes()
    default_storage.save("jobs/a/one", ContentFile(b"x" * 1000))
    default_storage.save("jobs/a/b/two", ContentFile(b"x" * 500))
    assert disk.file_bytes() - before == 1500


def test_an_upload_without_room_is_refused_and_nothing_of_it_stays(asking: Api, acme: TenantRef, limit: Any) -> None:
    with use_tenant(acme):
        used = used_storage()
    content = "email\n" + "ann@example.com\n" * 60_000
    limit(storage_bytes=used + len(content) // 2)
    answer = send(asking, content)
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["meter"]) == (403, "plan-limit", "storage_bytes")
    assert "0.9 MB" in problem["detail"]
    with use_tenant(acme):
        assert not Job.objects.exists()
    with use_control():
        assert not JobSummary.objects.filter(tenant_id=acme.id).exists()
    limit(storage_bytes=used + 2 * len(content))
    assert send(asking, content).status_code == 202


def test_the_page_of_the_import_says_so(acme: TenantRef, owner: User, signed_in: SignedIn, limit: Any) -> None:
    limit(storage_bytes=1)
    file = io.BytesIO(b"email\nann@example.com\n")
    file.name = "people.csv"
    answer = signed_in(owner).post("/members/import/upload", {"file": file})
    assert answer.status_code == 403
    text = answer.content.decode()
    assert "MB of storage" in text
    assert 'type="file"' in text  # the form is there for another file


def test_a_file_that_waits_has_the_room_that_it_takes(
    acme: TenantRef, owner: User, signed_in: SignedIn, limit: Any
) -> None:
    content = b"email\n" + b"ann@example.com\n" * 60_000
    file = io.BytesIO(content)
    file.name = "people.csv"
    with use_tenant(acme):
        limit(storage_bytes=used_storage() + MIB + MIB // 2)
    page = signed_in(owner).post("/members/import/upload", {"file": file})
    answer = signed_in(owner).post(f"{page['Location']}/start", {"mode": "create_and_update", "column-0": "email"})
    assert answer["Location"].startswith("/jobs/"), answer.content.decode()


def test_parts_for_which_there_is_no_room_go(tenant: TenantRef, kinds: Kinds, limit: Any) -> None:
    def write(run: Run, params: Any) -> None:
        for number in range(3):
            save_part(run.job, number, io.BytesIO(b"x" * MIB))
            with run.step():
                run.done += 1
                run.saved = {"parts": run.done}

    name = kinds.add(write)
    before = used_storage()
    limit(storage_bytes=before + 5 * MIB // 2)
    job = job_done(name)
    assert (job.state, job.done, job.checkpoint) == ("failed", 0, {})
    assert parts_of(job) == []
    limit(storage_bytes=before + 5 * MIB)
    assert job_run(job_retry(job=job)).done == 3


def test_a_file_takes_the_room_of_the_parts_that_it_is_made_of(tenant: TenantRef, kinds: Kinds, limit: Any) -> None:
    def write(run: Run, params: Any) -> None:
        save_part(run.job, 0, io.BytesIO(b"x" * MIB))
        with run.writing_result("large.bin") as file:
            file.write(b"x" * MIB)

    name = kinds.add(write)
    limit(storage_bytes=used_storage() + MIB + MIB // 2)
    assert job_done(name).state == "succeeded"


def test_a_job_whose_file_has_no_room_fails_with_the_sentence(tenant: TenantRef, kinds: Kinds, limit: Any) -> None:
    def write(run: Run, params: Any) -> None:
        with run.writing_result("large.bin") as file:
            file.write(b"x" * MIB)

    name = kinds.add(write)
    limit(storage_bytes=used_storage() + MIB // 2)
    job = job_done(name)
    assert job.state == "failed"
    assert job.error.startswith("The plan free has ")
    assert "storage" in job.error
    assert job.result_file == ""
    limit(storage_bytes=used_storage() + 3 * MIB)
    assert job_run(job_retry(job=job)).state == "succeeded"


def test_reading_and_removing_need_no_room(asking: Api, owner: User, limit: Any, acme: TenantRef) -> None:
    added = asking.post("/members", {"email": "ann@example.com"}).json()
    limit(storage_bytes=0, members=0)
    assert asking.get("/members").status_code == 200
    assert asking.get("/members.csv").status_code == 200
    assert asking.get("/usage").status_code == 200
    assert asking.delete(f"/members/{added['id']}").status_code == 204


# --- Requests --------------------------------------------------------------------------------------------------------------


def test_beyond_the_days_requests_programs_are_refused_until_midnight(asking: Api, acme: TenantRef, limit: Any) -> None:
    limit(requests=3)
    assert [asking.get("/me").status_code for _ in range(3)] == [200, 200, 200]
    answer = asking.get("/me")
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["meter"], problem["used"]) == (
        429,
        "plan-limit",
        "requests",
        3,
    )
    assert abs(int(answer["Retry-After"]) - usage.seconds_of_day_left()) <= 2
    assert "midnight UTC" in problem["detail"]
    assert usage.known_today(acme).requests == 3  # what was refused isn't used


def test_it_is_known_what_other_processes_have_served(asking: Api, acme: TenantRef, limit: Any) -> None:
    limit(requests=10)
    usage.count(acme, requests=8)
    usage.flush()
    usage.forget()  # as another process, which has served none
    assert asking.get("/me").status_code == 200
    assert usage.flush()
    assert asking.get("/me").status_code == 200
    assert asking.get("/me").status_code == 429


def test_people_and_whoever_makes_room_are_served_all_the_same(
    asking: Api, owner: User, signed_in: SignedIn, limit: Any
) -> None:
    added = asking.post("/members", {"email": "ann@example.com"}).json()
    limit(requests=1)
    assert asking.get("/members").status_code == 429
    assert asking.get("/usage").status_code == 200
    assert asking.get("/usage/days").status_code == 200
    assert asking.delete(f"/members/{added['id']}").status_code == 204
    for path in ("/", "/usage", "/members", "/settings"):
        assert signed_in(owner).get(path).status_code == 200


def test_whoever_is_not_known_hears_nothing_of_the_limit(asking: Api, limit: Any) -> None:
    limit(requests=0)
    assert Api(asking.host, "tnt_nobody").get("/me").status_code == 401


# --- Jobs ------------------------------------------------------------------------------------------------------------------


def sleep(run: Run, params: Any) -> None:
    time.sleep(0.7)


def test_each_attempts_seconds_are_counted(tenant: TenantRef, kinds: Kinds) -> None:
    def fail(run: Run, params: Any) -> None:
        time.sleep(0.7)
        raise JobFailed("It can't be done.")

    job_done(kinds.add(sleep))
    once = usage.known_today(tenant).job_seconds
    assert 0.7 <= once < 1.5
    job_done(kinds.add(fail))
    assert 1.4 <= usage.known_today(tenant).job_seconds < 3.0


def test_seconds_are_counted_while_the_job_runs(
    lasting: Lasting,  # noqa: F811
    kinds: Kinds,
) -> None:
    """So that of an attempt whose worker is killed no more than the last half second is missing, and the last flush."""
    seen = []

    def look(run: Run, params: Any) -> None:
        time.sleep(1.3)
        seen.append(usage.known_today(lasting.ref).job_seconds)

    with use_tenant(lasting.ref):
        job_done(kinds.add(look))
    assert 0.9 <= seen[0] <= 1.4
    assert usage.known_today(lasting.ref).job_seconds >= 1.3


def test_no_job_is_started_when_the_days_seconds_are_used_up(
    asking: Api,
    acme: TenantRef,
    kinds: Kinds,
    limit: Any,
) -> None:
    name = kinds.add(sleep)
    limit(job_seconds=100)
    usage.count(acme, job_seconds=60)
    usage.flush()
    assert asking.post("/jobs", {"kind": name}).status_code == 202
    usage.count(acme, job_seconds=41)  # not flushed, and known here all the same
    answer = asking.post("/jobs", {"kind": name})
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["meter"]) == (429, "plan-limit", "job_seconds")
    assert (problem["limit"], problem["used"]) == (100, 101)
    assert int(answer["Retry-After"]) > 0


def test_nor_is_one_tried_again_but_a_person_is_always_erased(
    tenant: TenantRef,
    kinds: Kinds,
    limit: Any,
) -> None:
    def fail(run: Run, params: Any) -> None:
        raise JobFailed("It can't be done.")

    job = job_done(kinds.add(fail))
    limit(job_seconds=0)
    with pytest.raises(PlanLimitReached):
        job_retry(job=job)
    with pytest.raises(PlanLimitReached):
        job_start(kind="members.export")
    job_start(kind="activity.erase", params={"subjects": ["0" * 32]})


def test_pages_say_so(acme: TenantRef, owner: User, signed_in: SignedIn, limit: Any) -> None:
    limit(job_seconds=0)
    for path, body in (("/members/export", {"format": "csv"}), ("/settings/archive", {})):
        answer = signed_in(owner).post(path, body, follow=True)
        assert "seconds a day for jobs" in answer.content.decode()


def test_a_repeat_of_what_was_started_is_answered_beyond_the_limit(tenant: TenantRef, limit: Any) -> None:
    job = job_start(kind="members.export", idempotency_key="once")
    limit(job_seconds=0, storage_bytes=0)
    assert job_start(kind="members.export", idempotency_key="once").pk == job.pk


def test_without_limits_files_and_jobs_ask_for_nothing_more(
    tenant: TenantRef, limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(disk, "file_bytes", asked)
    monkeypatch.setattr(disk, "database_bytes", asked)
    monkeypatch.setattr(usage, "not_flushed", asked)
    limit(members=1)
    job_start(kind="members.export")
    job_start(kind="members.import", params=PARAMS, upload=Input(io.BytesIO(b"email\na@example.com\n"), "a.csv"))
    limit(storage_bytes=10**12)
    with pytest.raises(AssertionError):
        job_start(kind="members.import", params=PARAMS, upload=Input(io.BytesIO(b"email\n"), "a.csv"))
    limit(job_seconds=10**9)
    with pytest.raises(AssertionError):
        job_start(kind="members.export")


PARAMS = {"encoding": "utf-8", "separator": ",", "columns": {"email": 0}, "width": 1, "sha256": "0" * 64, "size": 1}
