"""A person starts jobs, watches one, cancels it, tries a failed one again, reads its log, finds her own, and downloads what one made."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import people
from tests.browser.conftest import Open

pytestmark = pytest.mark.xdist_group("system")


def send(page: Page, tenant: str, text: str) -> None:
    """Import a file of members."""
    page.goto(f"{tenant}/members/import")
    file: Any = {"name": "people.csv", "mimeType": "text/csv", "buffer": text.encode()}
    page.get_by_label("File with members").set_input_files(file)
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Import of members", level=1)).to_be_visible()


def state(page: Page) -> Any:
    return page.get_by_role("region", name="Progress").get_by_role("status").first


def log(page: Page) -> Any:
    return page.get_by_role("region", name="Log")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_start_watch_cancel_retry_download(system: dict[str, Any], open_page: Open, theme: str, width: int) -> None:
    page = open_page(theme=theme, width=width)
    demo = system["tenants"][0]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])

    rows = "".join(f"nobody{number},Person {number}\n" for number in range(150_000))
    send(page, tenant, f"email,name\n{rows}")
    expect(state(page)).to_have_text("running")
    expect(page.get_by_text(re.compile(r"of 150,000 rows, [\d,]+ a second, about \d+ (s|min) left"))).to_be_visible()
    expect(log(page).get_by_text("Attempt 1 began.")).to_be_visible()

    cancel = page.get_by_role("button", name="Cancel the job")
    cancel.focus()
    shown = page.locator("#job").element_handle()
    assert shown is not None
    page.wait_for_function("shown => !shown.isConnected", arg=shown)  # what moves was replaced
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    shown = page.locator("#job").element_handle()
    page.wait_for_function("shown => !shown.isConnected", arg=shown)  # and again while the question is open
    dialog.get_by_role("button", name="Cancel the job").press("Enter")
    expect(state(page)).to_have_text("cancelled")
    expect(log(page).get_by_text("It was cancelled.")).to_be_visible()
    expect(cancel).to_have_count(0)

    broken = "nobody\n" * 20_000 + '"nobody'  # what a glance at the first rows doesn't show
    send(page, tenant, f"email\n{broken}")
    expect(state(page)).to_have_text("failed")
    page.get_by_role("button", name="Try it again").press("Enter")
    expect(log(page).get_by_text("It is to be tried again, from where it was.")).to_be_visible()
    expect(log(page).get_by_text("Attempt 2 began.")).to_be_visible()
    expect(state(page)).to_have_text("failed")  # the file is what it was

    page.goto(f"{tenant}/members")
    page.get_by_role("button", name="Export").click()
    expect(state(page)).to_have_text("succeeded")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^Download members")).click()
    assert demo["email"] in download.value.path().read_text()

    page.goto(f"{tenant}/jobs")
    page.get_by_label("Started by").select_option(label="Me")
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("row").filter(has_text="people.csv").first).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="succeeded")).to_have_count(0)
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
