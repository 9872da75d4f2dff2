"""Webhooks in a browser, with the real worker and a receiver that really listens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import people
from tests.browser.conftest import Open
from tests.browser.test_pages import faults_of
from tests.webhooks.receiver import Receiver, answer

pytestmark = pytest.mark.xdist_group("system")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def sign_in(page: Page, system: dict[str, Any]) -> str:
    demo = system["tenants"][0]
    tenant: str = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    return tenant


def create(page: Page, tenant: str, receiver: Receiver, *, name: str, actions: str = "") -> str:
    """Make a webhook on the page; answers its secret."""
    page.goto(f"{tenant}/webhooks")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Address").fill(receiver.url)
    page.get_by_label("Actions").fill(actions)
    page.get_by_role("button", name="Create the webhook").click()
    secret = page.locator("#webhook-secret")
    expect(secret).to_contain_text("whsec_")
    return secret.inner_text()


def test_from_the_form_to_a_delivery_that_is_sent_again(
    system: dict[str, Any], open_page: Open, receiver: Receiver
) -> None:
    page = open_page()
    tenant = sign_in(page, system)
    receiver.script = [answer(500, b"not yet")]
    secret = create(page, tenant, receiver, name="Journey", actions="token.")
    page.get_by_role("button", name="Send a test").click()
    deliveries = page.locator("#deliveries")
    expect(deliveries.get_by_text("It answered 500.").first).to_be_visible(timeout=30_000)
    expect(deliveries.get_by_text("failed")).to_be_visible()
    page.locator("#deliveries").get_by_text("Test message", exact=True).click()
    deliveries.get_by_role("button", name="Send it again").click()
    expect(deliveries.get_by_text("delivered")).to_be_visible(timeout=30_000)
    assert [request.is_signed_by(secret) for request in receiver.requests] == [True, True]
    assert receiver.requests[0].id == receiver.requests[1].id
    # An event of the log arrives by itself.
    webhook = page.url.partition("?")[0]
    people.create_token(page, tenant, name="seen by the webhook")
    page.goto(webhook)
    expect(deliveries.get_by_text("1 event, #")).to_be_visible(timeout=30_000)
    expect(deliveries.get_by_text("delivered")).to_have_count(2, timeout=30_000)
    assert receiver.events()[-1]["action"] == "token.created"
    page.get_by_role("button", name="Remove the webhook").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("“Journey” is removed.")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_whole(
    system: dict[str, Any], open_page: Open, receiver: Receiver, theme: str, width: int
) -> None:
    page = open_page(width=width, theme=theme)
    tenant = sign_in(page, system)
    page.goto(f"{tenant}/webhooks")
    faults = faults_of(page, theme)
    receiver.script = [answer(503, b'{"error": "the index is being rebuilt"}')]
    create(page, tenant, receiver, name=f"Look {theme} {width}", actions="member. token.created")
    faults += faults_of(page, theme)
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#deliveries").get_by_text("It answered 503.").first).to_be_visible(timeout=30_000)
    page.locator("#deliveries").get_by_text("Test message", exact=True).click()
    faults += faults_of(page, theme)
    assert not faults, "\n".join(faults)
    page.get_by_role("button", name="Remove the webhook").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("is removed.")).to_be_visible()
