"""Schedules as pages, without a browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from activity.jobs.models import Job
from activity.jobs.services import job_start
from activity.schedules import services
from activity.schedules.models import Schedule
from tenants.context import use_tenant
from tenants.models import Tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import fresh_limits  # noqa: F401  a fixture
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.kinds import Kinds
from tests.jobs.test_pages import html
from tests.schedules.conftest import dispatched, make, make_due

FORM = {
    "name": "Weekly export",
    "what": "members.export:xlsx",
    "every": "week",
    "minute": "0",
    "weekday": "monday",
    "day": "1",
    "at": "07:00",
    "time_zone": "",
}


@pytest.fixture
def browser(signed_in: SignedIn, owner: User) -> Client:
    return signed_in(owner)


@pytest.fixture
def schedule(acme: TenantRef, owner: User) -> Schedule:
    with use_tenant(acme):
        return make(owner, name="<b>Nightly</b>")


def test_without_schedules_the_page_says_what_to_do(browser: Client, signed_in: SignedIn, viewer: User) -> None:
    page = html(browser.get("/jobs/schedules"))
    assert "No schedules yet" in page
    assert "Create the schedule" in page
    assert 'aria-current="page"' in page
    assert "/jobs/schedules" in html(browser.get("/jobs"))
    others = html(signed_in(viewer).get("/jobs/schedules"))
    assert "An owner or an admin can have jobs started" in others
    assert "Create the schedule" not in others


def test_the_form_offers_what_one_may_start_and_can_be_started_so(browser: Client) -> None:
    page = html(browser.get("/jobs/schedules"))
    for what in ("members.export:csv", "members.export:ndjson", "members.export:xlsx", "members.export:parquet", "activity.export:csv",
                 "activity.export:ndjson", "tenant.archive", "activity.verify"):  # fmt: skip
        assert f'<option value="{what}"' in page
    for what in ("members.import", "activity.erase"):
        assert f'value="{what}' not in page
    assert "The organisation's is UTC." in page
    assert '<option value="Europe/Berlin">' in page


def test_one_is_made_and_stands_in_words(acme: TenantRef, browser: Client) -> None:
    page = html(browser.post("/jobs/schedules/create", {**FORM, "time_zone": "Europe/Berlin"}, follow=True))
    assert "“Weekly export” is scheduled: every Monday at 07:00." in page
    assert "Every Monday at 07:00, Europe/Berlin" in page
    assert "Export of members, Excel (XLSX)" in page
    assert "By Olivia" in page
    assert "not yet" in page
    with use_tenant(acme):
        schedule = Schedule.objects.get()
    assert (schedule.params["format"], schedule.minute, schedule.day) == ("xlsx", None, None)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"every": "hour", "minute": "15", "at": "nonsense", "day": ""}, "every hour at 15 minutes past"),
        ({"every": "day", "at": "23:05"}, "every day at 23:05"),
        ({"every": "month", "day": "31"}, "on the 31st of every month (or its last day) at 07:00"),
    ],
)
def test_of_what_is_filled_in_only_what_goes_with_it_counts(
    acme: TenantRef, browser: Client, facts: dict[str, str], words: str
) -> None:
    assert browser.post("/jobs/schedules/create", {**FORM, **facts}).status_code == 302
    with use_tenant(acme):
        assert Schedule.objects.get().recurrence.in_words() == words


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"name": ""}, "name"),
        ({"what": "members.import"}, "what"),
        ({"at": ""}, "at"),
        ({"at": "soon"}, "at"),
        ({"every": "month", "day": ""}, "day"),
        ({"every": "month", "day": "40"}, "day"),
        ({"every": "hour", "minute": ""}, "minute"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ],
)
def test_what_cannot_be_accepted_stands_beside_its_field(browser: Client, facts: dict[str, str], field: str) -> None:
    page = html(browser.post("/jobs/schedules/create", {**FORM, **facts}), 422)
    assert f'id="id_{field}_error"' in page
    assert page.count("_error") <= 2  # the field's own, and what ties it to the field


def test_it_is_changed(acme: TenantRef, browser: Client, schedule: Schedule) -> None:
    path = f"/jobs/schedules/{schedule.pk}"
    page = html(browser.get(path))
    assert "&lt;b&gt;Nightly&lt;/b&gt;" in page
    assert 'value="07:00"' in page
    assert '<option value="members.export:csv" selected>' in page
    assert "activity.export" not in page
    html(browser.post(f"{path}/update", {**FORM, "name": ""}), 422)
    with use_tenant(acme):  # filters, which only the API sets, stay
        Schedule.objects.update(params={"format": "csv", "q": "grace", "role": ""})
    assert browser.post(f"{path}/update", {**FORM, "name": "Weekly"}).status_code == 302
    with use_tenant(acme):
        changed = Schedule.objects.get()
    assert (changed.name, changed.params) == ("Weekly", {"format": "xlsx", "q": "grace", "role": ""})
    assert changed.recurrence.in_words() == "every Monday at 07:00"


def test_it_is_paused_resumed_and_deleted(acme: TenantRef, browser: Client, schedule: Schedule) -> None:
    path = f"/jobs/schedules/{schedule.pk}"
    page = html(browser.post(f"{path}/pause", follow=True))
    assert ">paused</span>" in page
    assert f'action="{path}/resume"' in page
    page = html(browser.post(f"{path}/resume", follow=True))
    assert ">paused</span>" not in page
    assert "data-confirm=" in page
    page = html(browser.post(f"{path}/delete", follow=True))
    assert "No schedules yet" in page
    assert browser.get(path).status_code == browser.post(f"{path}/delete").status_code == 404


def test_its_last_run_is_a_link_and_names_it(acme: TenantRef, browser: Client, schedule: Schedule) -> None:
    answer = browser.post(f"/jobs/schedules/{schedule.pk}/run")
    with use_tenant(acme):
        job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}"
    page = html(browser.get("/jobs/schedules"))
    assert f'href="/jobs/{job.pk}" aria-label="Last run of &lt;b&gt;Nightly&lt;/b&gt;: queued"' in page
    assert f'/jobs/schedules#schedule-{schedule.pk}"' in html(browser.get(f"/jobs/{job.pk}"))
    assert f'id="schedule-{schedule.pk}"' in page
    with use_tenant(acme):
        job.delete()
    assert f"/jobs/{job.pk}" not in html(browser.get("/jobs/schedules"))


def test_one_that_tenantry_paused_says_why(acme: TenantRef, signed_in: SignedIn, owner: User, admin: User) -> None:
    with use_tenant(acme):
        schedule = make(admin)
        User.objects.filter(pk=admin.pk).update(is_active=False)
        make_due()
        dispatched(acme)
    browser = signed_in(owner)
    for path in ("/jobs/schedules", f"/jobs/schedules/{schedule.pk}"):
        assert "Whoever made it is no longer a member here" in html(browser.get(path))
    html(browser.post(f"/jobs/schedules/{schedule.pk}/resume", follow=True))
    page = html(browser.get("/jobs/schedules"))
    assert "no longer a member" not in page
    assert "By Olivia" in page


def test_one_whose_kind_is_no_longer_there_can_still_be_deleted(
    acme: TenantRef, browser: Client, owner: User, kinds: Kinds
) -> None:
    kind = kinds.add(lambda run, params: None)
    with use_tenant(acme):
        schedule = make(owner, kind=kind)
    kinds.remove(kind)
    path = f"/jobs/schedules/{schedule.pk}"
    assert kind in html(browser.get("/jobs/schedules"))
    html(browser.get(path))
    assert "There is no kind of job with this name" in html(browser.post(f"{path}/run", follow=True))
    assert "is deleted." in html(browser.post(f"{path}/delete", follow=True))


def test_who_may_not_start_the_kind_sees_no_buttons(
    acme: TenantRef, signed_in: SignedIn, owner: User, member: User, schedule: Schedule
) -> None:
    for path in ("run", "pause", "resume", "update", "delete"):
        assert signed_in(member).post(f"/jobs/schedules/{schedule.pk}/{path}").status_code == 403
    assert signed_in(member).get(f"/jobs/schedules/{schedule.pk}").status_code == 403
    page = html(signed_in(member).get("/jobs/schedules"))
    assert "&lt;b&gt;Nightly" in page
    assert "Pause" not in page
    assert "Pause" in html(signed_in(owner).get("/jobs/schedules"))


def test_as_many_as_there_may_be(browser: Client, schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_SCHEDULES", 1)
    page = html(browser.get("/jobs/schedules"))
    assert "An organisation may have 1 schedules" in page
    assert "An organisation may have 1 schedules" in html(browser.post("/jobs/schedules/create", FORM), 422)


def test_the_organisation_s_zone_is_set_on_its_page(acme: TenantRef, browser: Client, schedule: Schedule) -> None:
    page = html(browser.get("/settings"))
    assert '<option value="UTC" selected>' in page
    answer = browser.post("/settings/organisation", {"name": "Acme", "time_zone": "America/New_York"}, follow=True)
    assert '<option value="America/New_York" selected>' in html(answer)
    assert Tenant.objects.get(pk=acme.id).time_zone == "America/New_York"
    assert "Every day at 07:00, America/New_York" in html(browser.get("/jobs/schedules"))
    refused: Any = browser.post("/settings/organisation", {"name": "Acme", "time_zone": "x"})
    assert 'id="organisation_time_zone_error"' in html(refused, 422)


def test_a_job_of_nobody_s_schedule_says_nothing_of_one(acme: TenantRef, browser: Client) -> None:
    with use_tenant(acme):
        job = job_start(kind="tenant.archive")
    assert "from a <a" not in html(browser.get(f"/jobs/{job.pk}"))
