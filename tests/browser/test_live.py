"""The live tail on the activity page: new events come by themselves, as the rows that a reload would show, and can be paused."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser import people
from tests.browser.conftest import Open
from tests.browser.watch import Watch
from tests.system import System

pytestmark = pytest.mark.xdist_group("system")

FOLLOWING = re.compile(r"New events appear here by themselves\.|new events? since")


def post(system: System, action: str, name: str) -> None:
    """An event, as the tenant's own product sends it."""
    demo = system["tenants"][0]
    event = {"action": action, "target": {"type": "report", "id": name, "name": name}, "data": {"note": "<b>no</b>"}}
    with system.client(demo["slug"], token=demo["token"]) as client:
        assert client.post("/api/v1/activity", json=event).status_code == 201


def open_log(system: System, page: Page, query: str = "") -> None:
    demo = system["tenants"][0]
    people.sign_in(page, demo["url"].rstrip("/"), email=demo["email"], password=demo["password"])
    page.goto(f"{demo['url'].rstrip('/')}/activity{query}")
    expect(page.locator("#live-status")).to_have_text(FOLLOWING)


def rows(page: Page, name: str) -> Any:
    return page.locator("#events > li").filter(has_text=name)


def content_of(row: Any) -> str:
    """A row's HTML without what differs from moment to moment."""
    html: str = row.evaluate("(row) => row.outerHTML")
    return re.sub(r"<time.*?</time>", "", re.sub(r' class="(is-new)?"', "", html))


def test_an_event_appears_on_top_as_a_reload_would_show_it(system: System, open_page: Open) -> None:
    page = open_page()
    name = f"live-{uuid4().hex[:8]}"
    open_log(system, page)
    page.evaluate("window.sameDocument = true")
    post(system, "live.tested", name)
    expect(rows(page, name)).to_have_count(1)
    expect(page.locator("#live-status")).to_have_text(re.compile("new event"))
    assert page.evaluate("window.sameDocument")
    first = page.locator("#events > li").first
    assert first.get_attribute("data-action") == "live.tested"
    assert re.search(r"second|now", first.locator("time").first.inner_text())
    first.locator("summary").press("Enter")
    expect(first.locator(".data-json")).to_contain_text("<b>no</b>")
    first.locator("summary").press("Enter")
    live = content_of(first)
    page.reload()
    assert content_of(rows(page, name).first) == live


def test_only_what_fits_the_pages_filters_appears_and_an_empty_list_begins(system: System, open_page: Open) -> None:
    page = open_page(width=390, theme="dark")
    action = f"only.{uuid4().hex[:8]}"
    open_log(system, page, f"?action={action}&q=&actor=")
    expect(page.get_by_role("heading", name="No event fits")).to_be_visible()
    post(system, "live.other", "not-this")
    post(system, action, "this-one")
    expect(rows(page, "this-one")).to_have_count(1)
    expect(rows(page, "not-this")).to_have_count(0)
    expect(page.get_by_role("heading", name="No event fits")).to_have_count(0)


def test_it_can_be_paused_and_misses_nothing(system: System, open_page: Open) -> None:
    page = open_page()
    action = f"paused.{uuid4().hex[:8]}"
    open_log(system, page, f"?action={action}")
    switch = page.get_by_role("switch", name="Live")
    switch.press("Space")
    expect(page.locator("#live-status")).to_have_text(re.compile("Paused"))
    post(system, action, "meanwhile-1")
    post(system, action, "meanwhile-2")
    page.wait_for_timeout(1500)
    expect(page.locator("#events > li")).to_have_count(0)
    switch.press("Space")
    expect(page.locator("#events > li")).to_have_count(2)
    expect(page.locator("#events > li").first).to_contain_text("meanwhile-2")


def test_an_older_page_and_another_order_stand_still(system: System, open_page: Open) -> None:
    page = open_page()
    open_log(system, page)
    for query in ("?order=oldest", "?from=2026-01-01"):
        page.goto(page.url.partition("?")[0] + query)
        expect(page.locator("#events > li").first).to_be_visible()
        expect(page.locator("#live")).to_have_count(0)


def test_a_stream_that_can_not_be_reached_is_told(system: System, open_page: Open, watch: Watch) -> None:
    watch.expected = {503}
    page = open_page()
    demo = system["tenants"][0]
    page.route("**/api/v1/activity/stream*", lambda route: route.fulfill(status=503, body=""))
    people.sign_in(page, demo["url"].rstrip("/"), email=demo["email"], password=demo["password"])
    page.goto(f"{demo['url'].rstrip('/')}/activity")
    told = page.locator("#live-status")
    expect(told).to_have_text("New events can't be followed right now. Reload the page to see them.")
    page.unroute("**/api/v1/activity/stream*")
    expect(told).to_have_text(FOLLOWING)
    assert all("CORS" in complaint or "ERR_FAILED" in complaint for complaint in watch.complaints), watch.complaints
    watch.complaints.clear()
