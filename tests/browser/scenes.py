"""Every page that people see, by name, and how to get there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import people


@dataclass(frozen=True, slots=True)
class Stage:
    """A system with a tenant that has people and a log, and what only a mail tells."""

    control: str
    tenant: str
    email: str
    password: str
    invitation: str
    reset: str
    operator: tuple[str, str]


Scene = Callable[[Page, Stage], None]


def set_stage(page: Page, system: dict[str, Any]) -> Stage:
    """The first demo tenant, with an invitation and a reset link that are still good."""
    demo = system["tenants"][0]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    people.invite(page, tenant, email="katherine.johnson@example.com")
    invitation = people.link_in_mail(page, tenant, to="katherine.johnson@example.com")
    page.context.clear_cookies()
    page.goto(f"{tenant}/password/reset")
    page.get_by_label("E-mail address").fill(demo["email"])
    page.get_by_role("button", name="Send the link").click()
    reset = people.link_in_mail(page, tenant, to=demo["email"])
    operator = system["operator"]["email"], system["operator"]["password"]
    return Stage(system["web"].rstrip("/"), tenant, demo["email"], demo["password"], invitation, reset, operator)


def on_control(path: str) -> Scene:
    """A page of the control host."""
    return lambda page, stage: _go(page, stage.control + path)


def on_tenant(path: str) -> Scene:
    """A page of the tenant's host."""
    return lambda page, stage: _go(page, stage.tenant + path)


def measured_usage(page: Page, stage: Stage) -> None:
    """The usage, once it was measured for the first time, which a minute after the system's start has happened."""
    for _ in range(90):
        _go(page, f"{stage.tenant}/usage")
        if not page.get_by_text("Nothing was measured yet").count():
            return
        page.wait_for_timeout(1_000)
    raise AssertionError("the usage isn't measured")


def refused_sign_up(page: Page, stage: Stage) -> None:
    """The sign-up form with its errors."""
    _go(page, f"{stage.control}/signup")
    page.get_by_label("Address", exact=True).fill("www")
    page.get_by_role("button", name="Create organisation").click()
    expect(page.get_by_text("This field is required.").first).to_be_visible()


def used_link(page: Page, stage: Stage) -> None:
    """A single-use link that was used: its form is sent by itself."""
    page.goto(f"{stage.tenant}/sign-in/nothing-that-was-ever-given-out")
    expect(page.get_by_role("heading", name="This link was used")).to_be_visible()


def member(page: Page, stage: Stage) -> None:
    """One member's page."""
    page.goto(f"{stage.tenant}/members")
    page.locator("#member-rows a").nth(1).click()
    expect(page.get_by_role("heading", name="What they did")).to_be_visible()


def nobody_found(page: Page, stage: Stage) -> None:
    """A search that finds nobody."""
    _go(page, f"{stage.tenant}/members?q=nobody+of+that+name")


def event_with_data(page: Page, stage: Stage) -> None:
    """The log with one event's data opened."""
    page.goto(f"{stage.tenant}/activity?action=member.created")
    page.locator("[data-action] summary").first.click()
    expect(page.locator(".data-json").first).to_be_visible()


def verified(page: Page, stage: Stage) -> None:
    """The log, verified."""
    page.goto(f"{stage.tenant}/activity/verify")
    page.get_by_role("button", name="Verify the whole log").click()
    expect(page.get_by_text("Every event is as it was signed.")).to_be_visible()


def new_token(page: Page, stage: Stage) -> None:
    """A token right after it was made."""
    people.create_token(page, stage.tenant, name="nightly export")


def webhook(page: Page, stage: Stage) -> None:
    """A webhook right after it was made, and a message that can't be delivered yet."""
    page.goto(f"{stage.tenant}/webhooks")
    page.get_by_label("Name").fill("Splunk")
    page.get_by_label("Address").fill("http://127.0.0.1:9/services/collector")
    page.get_by_label("Actions").fill("member. session. token.")
    page.get_by_role("button", name="Create the webhook").click()
    expect(page.locator("#webhook-secret")).to_contain_text("whsec_")
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#deliveries").get_by_text("The connection was refused.").first).to_be_visible()
    page.locator("#deliveries").get_by_text("Test message", exact=True).click()


def schedule(page: Page, stage: Stage) -> None:
    """Schedules, one of which has run."""
    page.goto(f"{stage.tenant}/jobs/schedules")
    for name, every in (("Weekly export", "week"), ("Month's end", "month")):
        page.get_by_label("Name").fill(name)
        page.get_by_label("What").select_option("members.export:xlsx")
        page.get_by_label("Once every").select_option(every)
        page.get_by_role("button", name="Create the schedule").click()
        expect(page.get_by_role("button", name=f"Pause {name}").first).to_be_visible()
    page.get_by_role("button", name="Run now (Weekly export)").first.click()
    expect(page.get_by_text("Download members.xlsx")).to_be_visible()
    page.goto(f"{stage.tenant}/jobs/schedules")


def mail(page: Page, stage: Stage) -> None:
    """A mail of the outbox."""
    people.link_in_mail(page, stage.tenant, to="katherine.johnson@example.com")


def user_menu(page: Page, stage: Stage) -> None:
    """The menu with everything open that opens."""
    page.goto(f"{stage.tenant}/settings")
    menu = page.get_by_role("button", name="Menu", exact=True)
    if menu.is_visible():
        menu.click()
        expect(page.locator("#menu")).to_have_class(re.compile(r"(^| )collapse show( |$)"))  # it has stopped moving
    page.locator(".shell-user").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def operator_sign_in(page: Page, stage: Stage) -> None:
    """The operators' sign-in and, behind it, their first page."""
    page.goto(f"{stage.control}/admin/")
    page.get_by_label("E-mail address").fill(stage.operator[0])
    page.get_by_label("Password").fill(stage.operator[1])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_attached()


def confirm(page: Page, stage: Stage) -> None:
    """The question before something is undone."""
    page.goto(f"{stage.tenant}/members")
    page.get_by_role("button", name="Revoke the invitation of katherine.johnson@example.com").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def import_refused(page: Page, stage: Stage) -> None:
    """A file that isn't one of members."""
    page.goto(f"{stage.tenant}/members/import")
    _choose(page, ",,\nAda,admin\n")
    expect(page.get_by_role("alert").filter(has_text="The first line")).to_be_visible()


def import_columns(page: Page, stage: Stage) -> None:
    """What was found out about a file, and its first rows."""
    page.goto(f"{stage.tenant}/members/import")
    rows = "".join(f"person{number}@example.com;Person {number};Berlin;{number}\n" for number in range(20))
    _choose(page, f"Work mail;Full name;City;A rather long name of a column\n{rows}")
    expect(page.get_by_role("heading", name="Which column is which")).to_be_visible()


def import_dry_run(page: Page, stage: Stage) -> None:
    """An import that was only tried."""
    page.goto(f"{stage.tenant}/members/import")
    _choose(page, "email;name\nhedy.k@example.com;Hedy Kiesler\nnobody;No Address\n")
    page.get_by_label("Try it first").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Rows that can't be taken")).to_be_visible()


def job_with_report(page: Page, stage: Stage) -> None:
    """An import that has ended, with rows that it didn't take."""
    page.goto(f"{stage.tenant}/members/import")
    _choose(page, "email;name\nhedy@example.com;Hedy Lamarr\nnobody;No Address\nHEDY@example.com;Again\n")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Rows that were not taken")).to_be_visible()


def job_that_runs(page: Page, stage: Stage) -> None:
    """A long import, far enough to tell its rate, of people without addresses, so that other scenes have none of them."""
    rows = "".join(f"nobody{number},Person {number}\n" for number in range(150_000))
    page.goto(f"{stage.tenant}/members/import")
    _choose(page, f"email,name\n{rows}")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("left")).to_be_visible()


def jobs_cleared(page: Page, stage: Stage) -> None:
    """The list of jobs, with the long one cancelled."""
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("It was cancelled.")).to_be_visible()
    page.goto(f"{stage.tenant}/jobs")


def _choose(page: Page, text: str) -> None:
    file: Any = {"name": "people.csv", "mimeType": "text/csv", "buffer": text.encode()}
    page.get_by_label("File with members").set_input_files(file)
    page.get_by_role("button", name="Go on").click()


def _go(page: Page, url: str) -> None:
    page.goto(url)


OPEN: dict[str, Scene] = {
    "landing": on_control("/"),
    "signup": on_control("/signup"),
    "signup-refused": refused_sign_up,
    "find-nothing": on_control("/find?slug=no-such-place"),
    "control-outbox": on_control("/outbox"),
    "login": on_tenant("/login"),
    "password-reset": on_tenant("/password/reset"),
    "password-reset-sent": on_tenant("/password/reset/sent"),
    "password-reset-choose": lambda page, stage: _go(page, stage.reset),
    "password-reset-done": on_tenant("/password/reset/done"),
    "invitation": lambda page, stage: _go(page, stage.invitation),
    "invitation-used": on_tenant("/invitations/nothing-that-was-ever-given-out"),
    "sign-in-link-used": used_link,
    "not-found": on_control("/no-such-page"),
}
SIGNED_IN: dict[str, Scene] = {
    "dashboard": on_tenant("/"),
    "members": on_tenant("/members"),
    "members-nobody": nobody_found,
    "member": member,
    "confirm": confirm,
    "activity": on_tenant("/activity"),
    "activity-event": event_with_data,
    "activity-nothing": on_tenant("/activity?action=no.such.action"),
    "activity-verify": verified,
    "jobs-nothing": on_tenant("/jobs?state=failed"),
    "members-import": on_tenant("/members/import"),
    "members-import-refused": import_refused,
    "members-import-columns": import_columns,
    "job-dry-run": import_dry_run,
    "job": job_with_report,
    "job-running": job_that_runs,
    "jobs": jobs_cleared,
    "schedules-none": on_tenant("/jobs/schedules"),
    "schedules": schedule,
    "tokens": on_tenant("/tokens"),
    "token-created": new_token,
    "webhooks-none": on_tenant("/webhooks"),
    "webhook": webhook,
    "webhooks": on_tenant("/webhooks"),
    "usage": measured_usage,
    "settings": on_tenant("/settings"),
    "menu": user_menu,
    "outbox": on_tenant("/outbox"),
    "mail": mail,
    "tenant-not-found": on_tenant("/no-such-page"),
}
# Statuses of the scenes that show how something is refused.
REFUSALS = {404, 410, 422}
OPERATOR: dict[str, Scene] = {
    "admin-login": on_control("/admin/login/"),
    "admin": operator_sign_in,
    "admin-tenants": on_control("/admin/tenants/tenant/"),
    "admin-servers": on_control("/admin/tenants/server/"),
    "admin-jobs": on_control("/admin/tenants/jobsummary/"),
    "admin-pools": on_control("/admin/pools/"),
    "admin-turns": on_control("/admin/tenants/jobturn/"),
    "admin-schedules": on_control("/admin/tenants/jobschedule/"),
    "admin-usage": on_control("/admin/tenants/usageday/"),
    "admin-workers": on_control("/admin/workers/"),
    "admin-activity": on_control("/admin/activity/loggedevent/?tenant=acme"),
}
