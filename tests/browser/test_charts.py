"""The chart, the filters and saved searches in a browser, in a tenant with many events."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import people
from tests.browser.conftest import Open
from tests.browser.test_pages import faults_of

pytestmark = pytest.mark.xdist_group("system")

ACTIONS = [
    *("order.placed", "order.paid", "order.shipped", "order.returned"),
    *("cart.opened", "mail.sent", "price.changed", "stock.counted"),
]
PEOPLE = ["Ada Lovelace", "Grace Hopper", "Hedy Lamarr", "Katherine Johnson"]
FEW, MANY = 3_000, 100_000


def send(system: dict[str, Any], count: int) -> None:
    """Events of the last weeks, sent in as a tenant's product does it, and waited for until the log has them."""
    demo = system["tenants"][0]
    chance = random.Random(5)
    now = datetime.now(UTC)
    client = httpx.Client(
        base_url=system["web"],
        headers={"Host": demo["url"].split("//")[1].rstrip("/"), "Authorization": f"Bearer {demo['token']}"},
        timeout=60,
    )
    with client:

        def total() -> int:
            since = (now - timedelta(days=30)).strftime("%Y-%m-%d")
            return int(client.get(f"/api/v1/activity/stats?from={since}").raise_for_status().json()["total"])

        def one() -> dict[str, Any]:
            name = chance.choice(PEOPLE)
            return {
                "action": chance.choices(ACTIONS, weights=range(len(ACTIONS), 0, -1))[0],
                "at": (now - timedelta(days=20) * chance.random() ** 2).isoformat(),
                "actor": {"type": "shopper", "id": name.split()[0].lower(), "name": name},
                "data": {"amount": chance.randrange(1, 500)},
            }

        before = total()
        for first in range(0, count, 1_000):
            events = [one() for _ in range(min(1_000, count - first))]
            client.post("/api/v1/activity/batch", json={"events": events}).raise_for_status()
        deadline = datetime.now(UTC) + timedelta(seconds=600)
        while total() < before + count:
            assert datetime.now(UTC) < deadline
            time.sleep(0.2)


@pytest.fixture(scope="module")
def sent(system: dict[str, Any]) -> None:
    send(system, FEW)


def sign_in(page: Page, system: dict[str, Any]) -> str:
    demo = system["tenants"][0]
    tenant: str = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    return tenant


def inked(page: Page) -> int:
    """How many pixels of the chart are drawn on."""
    return int(
        page.evaluate("""() => {
      const canvas = document.querySelector(".chart-canvas canvas");
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let inked = 0;
      for (let index = 3; index < data.length; index += 4) if (data[index]) inked += 1;
      return inked;
    }""")
    )


def test_the_chart_is_drawn_and_tells_the_same_as_its_table(
    system: dict[str, Any], sent: None, open_page: Open
) -> None:
    page = open_page()
    tenant = sign_in(page, system)
    page.goto(f"{tenant}/activity?action=order.")
    expect(page.locator(".chart-canvas canvas")).to_be_visible()
    drawn = inked(page)
    assert drawn > 2_000
    table = page.get_by_role("region", name="Events by day")
    expect(table).not_to_be_visible()
    page.get_by_text("The numbers as a table").click()
    expect(table).to_be_visible()
    totals = [int(text) for text in page.locator(".chart-table tbody td:nth-child(2)").all_inner_texts()]
    caption = page.locator(".chart figcaption").inner_text()
    assert caption.startswith(f"{sum(totals):,} events from ")
    legend = [text.replace(",", "") for text in page.locator(".chart-legend .chart-number").all_inner_texts()]
    assert sum(map(int, legend)) == sum(totals)
    page.locator(".chart-canvas").hover()
    expect(page.locator(".chart-note")).to_contain_text(": ")
    assert int(page.locator(".chart-note").inner_text().rpartition(": ")[2].replace(",", "")) in totals


def test_it_fits_the_window_and_the_theme(system: dict[str, Any], sent: None, open_page: Open) -> None:
    page = open_page(theme="light")
    tenant = sign_in(page, system)
    page.goto(f"{tenant}/activity")
    expect(page.locator(".chart-canvas canvas")).to_be_visible()
    for width in (390, 900):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(
            "() => Math.abs(document.querySelector('.u-wrap').offsetWidth - document.querySelector('.chart-canvas').clientWidth) < 2"
        )
        assert faults_of(page, "light") == []
    page.locator("[data-theme-toggle]").first.click()
    expect(page.locator(".chart-canvas canvas")).to_have_count(1)
    assert inked(page) > 1_000
    assert faults_of(page, "dark") == []


def test_a_search_is_saved_used_and_deleted(system: dict[str, Any], sent: None, open_page: Open) -> None:
    page = open_page()
    tenant = sign_in(page, system)
    page.goto(f"{tenant}/activity?action=order.paid")
    page.get_by_text("Save this search").click()
    page.get_by_label("Name of the search").fill("Paid orders")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The search “Paid orders” is saved.")).to_be_visible()
    page.goto(f"{tenant}/activity")
    page.get_by_role("navigation", name="Saved searches").get_by_role("link", name="Paid orders").click()
    expect(page.get_by_label("Action", exact=True)).to_have_value("order.paid")
    expect(page.locator("[data-action]").first).to_have_attribute("data-action", "order.paid")
    page.get_by_role("button", name="Delete the saved search Paid orders").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The search “Paid orders” is deleted.")).to_be_visible()
    expect(page.get_by_role("navigation", name="Saved searches")).to_have_count(0)


@pytest.mark.scenario
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_with_a_hundred_thousand_events(system: dict[str, Any], open_page: Open, theme: str, width: int) -> None:
    """In CI the tests above have 3,000."""
    if theme == "light":
        send(system, MANY)
    page = open_page(width=width, theme=theme)
    tenant = sign_in(page, system)
    for path in (
        "/",
        "/activity",
        "/activity?action=order.",
        "/activity?from=2026-01-01",
        "/activity?q=ada&action=mail.",
    ):
        page.goto(f"{tenant}{path}")
        if "q=" not in path:
            expect(page.locator(".chart-canvas canvas")).to_be_visible()
        assert faults_of(page, theme) == []
    page.goto(f"{tenant}/activity")
    for _ in range(5):
        page.get_by_role("link", name="Older").click()
        expect(page.locator("[data-action]")).to_have_count(50)
