"""Jobs, and imports and exports of members, as pages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse

from accounts.models import User
from activity.jobs.models import Job
from activity.jobs.services import job_start
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import NOBODY, events_of, imported, members, run, send

FILE = "email,name\nann@example.com,Ann\n<b>bad</b>,\n"


def html(answer: HttpResponse, status: int = 200) -> str:
    """The page, which must hold nothing that the Content-Security-Policy would stop."""
    assert answer.status_code == status
    page = answer.content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    for script in re.findall(r"<script([^>]*)>", page):
        assert 'src="/static/' in script or 'type="application/json"' in script
    assert not re.findall(r"(?:src|action)=\"(?:https?:)?//|<link[^>]*href=\"(?:https?:)?//", page)
    return page


def upload(content: str = FILE, name: str = "people.csv") -> dict[str, Any]:
    return {"file": SimpleUploadedFile(name, content.encode(), "text/csv")}


def last_job(acme: TenantRef) -> Job:
    with use_tenant(acme):
        return Job.objects.order_by("-created_at", "-id")[0]


def test_without_jobs_the_list_says_what_they_are(signed_in: SignedIn, owner: User, viewer: User) -> None:
    page = html(signed_in(owner).get("/jobs"))
    assert "No jobs yet" in page
    assert "/members/import" in page
    assert "/members/import" not in html(signed_in(viewer).get("/jobs"))


def test_the_list_shows_the_jobs_and_asks_again_while_one_moves(
    signed_in: SignedIn, api: ApiOf, owner: User, viewer: User, acme: TenantRef
) -> None:
    job = imported(api(owner), acme, FILE)
    page = html(signed_in(viewer).get("/jobs"))
    assert f'href="/jobs/{job.pk}"' in page
    assert "Import of members" in page
    assert "upload.csv" in page
    assert "Olivia" in page
    assert "hx-trigger" not in page
    send(api(owner), FILE)
    assert 'hx-trigger="every 2s"' in html(signed_in(viewer).get("/jobs"))


def test_what_is_shown_of_a_job_while_it_waits_and_runs(signed_in: SignedIn, owner: User, acme: TenantRef) -> None:
    client = signed_in(owner)
    with use_tenant(acme):
        first = job_start(kind="tenant.archive")
        second = job_start(kind="members.export", after=first)

    def shown(job: Job) -> str:
        listed = html(client.get("/jobs")).partition(f'id="job-{job.pk}"')[2].partition("</tr>")[0]
        return listed + html(client.get(f"/jobs/{job.pk}"))

    assert shown(second).count("Waiting for another job") == 2
    assert "Waits for" in shown(second)
    with use_tenant(acme):
        Job.objects.filter(pk=first.pk).update(state="running")
    assert shown(first).count("Under way") == 2  # it reads no file
    with use_tenant(acme):
        Job.objects.filter(pk=first.pk).update(done=3)
    assert shown(first).count("3 files") == 2
    with use_tenant(acme):
        Job.objects.filter(pk=first.pk).update(state="succeeded")
    assert shown(second).count("Waiting for a worker") == 2
    assert "Waits for" not in shown(second)


def test_the_list_filters(signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef) -> None:
    job = imported(api(owner), acme, FILE)
    client = signed_in(owner)
    assert f"job-{job.pk}" in html(client.get("/jobs?state=succeeded&kind=members.import"))
    for query in ("state=failed", "kind=members.export", "state=nonsense"):
        page = html(client.get(f"/jobs?{query}"))
        assert "No job fits" in page
        assert f"job-{job.pk}" not in page


def test_everybody_finds_their_own(signed_in: SignedIn, owner: User, admin: User) -> None:
    for person, name in ((admin, "Adam"), (owner, "Olivia")):
        page = signed_in(person)
        page.post("/members/export", {"format": "csv"})
        found = re.search(r'<option value="([^"]+)">Me<', page.get("/jobs").content.decode())
        assert found
        rows = page.get(f"/jobs?actor={found[1]}").content.decode()
        assert re.findall(r"Only jobs that (\w+) started", rows) == [name]


def test_the_list_goes_on_behind_its_cursor(signed_in: SignedIn, owner: User, acme: TenantRef) -> None:
    with use_tenant(acme):
        for _ in range(51):
            job_start(kind="members.export")
    client = signed_in(owner)
    first = html(client.get("/jobs"))
    following = re.search(r"cursor=([\w-]+)", first)
    assert following is not None
    second = html(client.get(f"/jobs?cursor={following[1]}"))
    ids = [re.findall(r'id="job-([\w-]{36})"', page) for page in (first, second)]
    assert (len(ids[0]), len(ids[1])) == (50, 1)
    assert not set(ids[0]) & set(ids[1])
    assert "hx-trigger" not in second  # only the first page is asked for again
    assert re.findall(r'id="job-([\w-]{36})"', html(client.get("/jobs?cursor=nonsense"))) == ids[0]


def test_htmx_gets_the_rows_alone(signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef) -> None:
    job = imported(api(owner), acme, FILE)
    client = signed_in(owner)
    rows = html(client.get("/jobs", headers={"HX-Request": "true"}))
    assert rows.lstrip().startswith('<div id="job-rows"')
    part = html(client.get(f"/jobs/{job.pk}", headers={"HX-Request": "true"}))
    assert part.lstrip().startswith('<div id="job"')
    assert "<html" not in rows + part


def test_a_jobs_page_shows_its_counts_and_what_was_not_taken(
    signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef
) -> None:
    job = imported(api(owner), acme, FILE)
    page = html(signed_in(owner).get(f"/jobs/{job.pk}"))
    assert re.findall(r"<dt>(\w+)</dt><dd>(\d+)</dd>", page) == [
        ("Created", "1"), ("Updated", "0"), ("Unchanged", "0"), ("Refused", "1"),
    ]  # fmt: skip
    assert "Rows that were not taken" in page
    assert "&lt;b&gt;bad&lt;/b&gt;" in page
    assert "<b>bad</b>" not in page
    assert "Enter a valid e-mail address." in page
    assert f"/api/v1/jobs/{job.pk}/report" in page
    assert "hx-trigger" not in page
    assert "Cancel the job" not in page


def test_a_jobs_page_shows_the_first_20_problems(signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef) -> None:
    job = imported(api(owner), acme, "email\n" + "bad\n" * 25)
    page = html(signed_in(owner).get(f"/jobs/{job.pk}"))
    assert page.count("<code>bad</code>") == 20
    assert "The first 20 of 25." in page


def test_those_who_may_not_import_see_no_rows_of_the_file(
    signed_in: SignedIn, api: ApiOf, owner: User, viewer: User, acme: TenantRef
) -> None:
    job = imported(api(owner), acme, FILE)
    page = html(signed_in(viewer).get(f"/jobs/{job.pk}"))
    assert "succeeded" in page
    assert "bad" not in page
    assert "/report" not in page
    assert "Every row was taken" not in page  # one wasn't


def test_a_job_that_failed_says_why(signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef) -> None:
    job = imported(api(owner), acme, 'email,name\nann@example.com,"Ann\n')
    page = html(signed_in(owner).get(f"/jobs/{job.pk}"))
    assert "Row 2 opens a quotation mark that is never closed." in page


def test_a_job_that_waits_is_asked_for_again_and_can_be_cancelled(
    signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef
) -> None:
    job_id = send(api(owner), FILE).json()["id"]
    client = signed_in(owner)
    page = html(client.get(f"/jobs/{job_id}"))
    assert 'hx-trigger="every 1s"' in page
    assert "Waiting for a worker" in page
    assert f'action="/jobs/{job_id}/cancel"' in page
    answer = client.post(f"/jobs/{job_id}/cancel")
    assert (answer.status_code, answer["Location"]) == (302, f"/jobs/{job_id}")
    assert events_of(acme, job_id)[-1]["action"] == "job.cancelled"
    assert "cancelled" in html(client.get(f"/jobs/{job_id}"))


def test_a_job_that_has_ended_is_not_cancelled_and_the_page_says_so(
    signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef
) -> None:
    job = imported(api(owner), acme, FILE)
    answer = signed_in(owner).post(f"/jobs/{job.pk}/cancel", follow=True)
    assert "there is nothing left to cancel" in html(answer)
    assert last_job(acme).state == "succeeded"


@pytest.mark.parametrize("person", ["member", "viewer"])
def test_those_who_may_not_cancel_see_no_button_and_are_403(
    signed_in: SignedIn, api: ApiOf, owner: User, acme: TenantRef, request: Any, person: str
) -> None:
    job_id = send(api(owner), FILE).json()["id"]
    client = signed_in(request.getfixturevalue(person))
    assert "/cancel" not in html(client.get(f"/jobs/{job_id}"))
    html(client.post(f"/jobs/{job_id}/cancel"), 403)
    assert last_job(acme).state == "queued"


def test_a_job_that_is_not_there_is_404(
    signed_in: SignedIn, api: ApiOf, owner: User, stranger: User, globex: TenantRef
) -> None:
    foreign = send(api(stranger, globex), FILE).json()["id"]
    for job_id in (foreign, NOBODY):
        html(signed_in(owner).get(f"/jobs/{job_id}"), 404)
        html(signed_in(owner).post(f"/jobs/{job_id}/cancel"), 404)


def test_a_file_is_chosen_and_its_job_is_watched(signed_in: SignedIn, owner: User, acme: TenantRef) -> None:
    client = signed_in(owner)
    page = html(client.get("/members/import"))
    assert 'enctype="multipart/form-data"' in page
    assert 'action="/members/import/upload"' in page
    answer = client.post("/members/import/upload", upload())
    with use_tenant(acme):
        assert not Job.objects.exists()
    form = {"column-0": "email", "column-1": "name", "mode": "create_and_update"}
    answer = client.post(f"{answer['Location']}/start", form)
    job = last_job(acme)
    assert (answer.status_code, answer["Location"]) == (302, f"/jobs/{job.pk}")
    assert (job.state, job.input_name) == ("queued", "people.csv")
    assert events_of(acme, job.pk)[0]["source"] == "ui"
    run(acme, job.pk)
    assert members(acme)["ann@example.com"] == ("Ann", "member")


@pytest.mark.parametrize(("content", "word"), [("", "empty"), (",,\nAnn\n", "email"), ("\0", "bytes that no text has")])
def test_a_file_that_is_refused_is_422_with_the_reason_beside_the_field(
    signed_in: SignedIn, owner: User, acme: TenantRef, content: str, word: str
) -> None:
    page = html(signed_in(owner).post("/members/import/upload", upload(content)), 422)
    reason = re.search(r'id="file_error"[^>]*>([^<]*)<', page)
    assert reason is not None
    assert word in reason[1]
    assert 'aria-invalid="true"' in page
    with use_tenant(acme):
        assert not Job.objects.exists()


def test_a_form_without_a_file_is_422(signed_in: SignedIn, owner: User) -> None:
    assert "Choose a file" in html(signed_in(owner).post("/members/import/upload", {}), 422)


def test_a_file_that_is_too_large_is_413(signed_in: SignedIn, owner: User, settings: Any, acme: TenantRef) -> None:
    settings.UPLOAD_MAX_BYTES = 20
    html(signed_in(owner).post("/members/import/upload", upload()), 413)
    with use_tenant(acme):
        assert not Job.objects.exists()


@pytest.mark.parametrize("person", ["member", "viewer"])
def test_those_who_may_not_import_are_403(signed_in: SignedIn, request: Any, acme: TenantRef, person: str) -> None:
    client = signed_in(request.getfixturevalue(person))
    html(client.get("/members/import"), 403)
    html(client.post("/members/import/upload", upload()), 403)
    html(client.post("/members/export", {"format": "csv"}), 403)
    assert "/members/export" not in html(client.get("/members"))
    with use_tenant(acme):
        assert not Job.objects.exists()


def test_nobody_is_asked_to_sign_in(anonymous: Any) -> None:
    for path in ("/jobs", f"/jobs/{NOBODY}", "/members/import"):
        answer = anonymous.get(path)
        assert (answer.status_code, answer["Location"]) == (302, f"/login?next={path}")
    for path in ("/members/import/upload", "/members/export", f"/jobs/{NOBODY}/cancel"):
        assert anonymous.post(path).status_code == 302


@pytest.mark.parametrize("path", ["/members/import/upload", "/members/export", f"/jobs/{NOBODY}/cancel"])
def test_a_form_is_sent_by_post_with_its_csrf_token(signed_in: SignedIn, owner: User, path: str) -> None:
    assert signed_in(owner).get(path).status_code in {404, 405}
    answer = signed_in(owner, enforce_csrf_checks=True).post(path)
    assert answer.status_code == 403
    assert "This form was open too long" in answer.content.decode()


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_the_export_starts_with_the_lists_filter(
    signed_in: SignedIn, owner: User, acme: TenantRef, format_: str
) -> None:
    client = signed_in(owner)
    page = html(client.get("/members?q=ann"))
    assert 'action="/members/export"' in page
    assert '<input type="hidden" name="q" value="ann">' in page
    answer = client.post("/members/export", {"format": format_, "q": " ann "})
    job = last_job(acme)
    assert answer["Location"] == f"/jobs/{job.pk}"
    assert job.params == {"format": format_, "q": "ann", "role": ""}
    run(acme, job.pk)
    page = html(client.get(f"/jobs/{job.pk}"))
    assert f"/api/v1/jobs/{job.pk}/result" in page
    assert f"Download members.{format_}" in page


def test_an_unknown_format_starts_nothing(signed_in: SignedIn, owner: User, acme: TenantRef) -> None:
    answer = signed_in(owner).post("/members/export", {"format": "ods"}, follow=True)
    assert "Choose one of the formats: CSV, Excel (XLSX), NDJSON, Parquet." in html(answer)
    with use_tenant(acme):
        assert not Job.objects.exists()
