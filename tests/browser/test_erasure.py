"""Somebody is erased from the log on the settings page, after a question."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser import people
from tests.browser.conftest import TIMEOUT, Open
from tests.browser.watch import Watch

pytestmark = pytest.mark.xdist_group("system")

EMAIL = "forget.me@example.com"


def test_an_invited_person_is_erased(system: dict[str, Any], open_page: Open, watch: Watch) -> None:
    demo = system["tenants"][1]
    tenant = demo["url"].rstrip("/")
    page = open_page()
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    people.invite(page, tenant, email=EMAIL)
    log = f"{tenant}/activity?action=invitation.sent"
    in_the_log = page.get_by_text(EMAIL, exact=True)
    for _ in range(20):  # an event is there within two seconds
        page.goto(log)
        if in_the_log.count():
            break
        page.wait_for_timeout(500)
    expect(in_the_log).to_be_visible()

    page.goto(f"{tenant}/settings#erase")
    page.get_by_label("Who", exact=True).fill(EMAIL)
    page.get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Cancel").click()  # nothing happens
    page.get_by_role("button", name="Erase").click()
    page.locator("[data-confirm-yes]").click()
    expect(page.get_by_text("They are being erased")).to_be_visible()
    expect(page.get_by_text("succeeded", exact=True)).to_be_visible(timeout=2 * TIMEOUT)
    page.goto(log)
    expect(page.get_by_text("(erased)").first).to_be_visible()
    expect(page.get_by_text(EMAIL)).to_have_count(0)
    page.goto(f"{tenant}/settings#erase")
    expect(page.locator("#erase tbody tr")).to_have_count(1)
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
