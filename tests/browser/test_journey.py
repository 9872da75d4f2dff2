"""From sign-up to sign-out, as the people of a new organisation go."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser import people
from tests.browser.conftest import Open
from tests.browser.watch import Watch

pytestmark = pytest.mark.xdist_group("system")

# What the journey does, in its order, and how often the log must then hold it.
STEPS = {
    "tenant.created": 1,
    "member.created": 2,
    "invitation.sent": 1,
    "invitation.accepted": 1,
    "member.role_changed": 1,
    "token.created": 1,
    "session.signed_out": 1,
    "session.signed_in": 3,  # the owner by the link of sign-up, Grace by her invitation, Grace with her password
}


def test_the_people_of_a_new_organisation_reach_all_that_they_need(system: dict[str, Any], open_page: Open) -> None:
    slug = f"journey-{uuid4().hex[:8]}"
    owner = open_page()
    tenant = people.sign_up(
        owner, system["web"], organisation="Journey Labs", slug=slug, name="Ada Lovelace", email="ada@journey.example"
    )
    assert f"//{slug}." in tenant

    people.invite(owner, tenant, email="grace@journey.example")
    link = people.link_in_mail(owner, tenant, to="grace@journey.example")

    grace = open_page()
    grace.goto(link)
    grace.get_by_label("Your name").fill("Grace Hopper")
    grace.get_by_label("Choose a password").fill(people.PASSWORD)
    grace.get_by_role("button", name="Join").click()
    expect(grace.get_by_role("heading", name="Dashboard", level=1)).to_be_visible()
    people.sign_out(grace, name="Grace Hopper")
    people.sign_in(grace, tenant, email="GRACE@journey.example")

    change_role(owner, tenant)
    search(owner, tenant)
    secret = people.create_token(owner, tenant, name="nightly export")
    owner.goto(f"{tenant}/tokens")
    expect(owner.get_by_text("nightly export", exact=True)).to_be_visible()
    assert secret not in owner.content()

    for action, times in STEPS.items():
        expect_logged(owner, tenant, action, times)

    people.sign_out(owner, name="Ada Lovelace")
    owner.goto(f"{tenant}/members")
    expect(owner.get_by_role("heading", name="Sign in", level=1)).to_be_visible()


def change_role(page: Page, tenant: str) -> None:
    page.goto(f"{tenant}/members")
    role = page.get_by_label("Role of Grace Hopper")
    with page.expect_response(re.compile("/role$")):
        role.select_option("admin")
    page.reload()
    expect(page.get_by_label("Role of Grace Hopper")).to_have_value("admin")


def search(page: Page, tenant: str) -> None:
    page.goto(f"{tenant}/members")
    page.get_by_role("searchbox").press_sequentially("hopp", delay=30)
    expect(page.get_by_role("link", name="Ada Lovelace")).to_have_count(0)
    expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()
    expect(page).to_have_url(re.compile(r"q=hopp"))
    page.get_by_role("searchbox").fill("nobody of that name")
    expect(page.get_by_text("Nobody found")).to_be_visible()


def expect_logged(page: Page, tenant: str, action: str, times: int) -> None:
    """An event is on the page within 2 s of its commit; the machine of a test may be slower."""
    rows = page.locator(f"[data-action='{action}']")
    for _ in range(20):
        page.goto(f"{tenant}/activity?action={action}")
        if rows.count() >= times:
            break
        page.wait_for_timeout(500)
    expect(rows).to_have_count(times)


def test_a_refused_sign_up_says_why_beside_the_field(system: dict[str, Any], open_page: Open, watch: Watch) -> None:
    watch.expected = {422}
    taken = system["tenants"][0]["slug"]
    page = open_page()
    page.goto(f"{system['web']}/signup")
    page.get_by_label("Organisation", exact=True).press_sequentially("Café & Söhne")
    expect(page.get_by_label("Address", exact=True)).to_have_value("cafe-sohne")
    expect(page.get_by_text("is free")).to_be_visible()
    page.get_by_label("Address", exact=True).fill(taken)
    expect(page.get_by_text("is taken")).to_be_visible()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Your e-mail address").fill("ada@example.com")
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Create organisation").click()
    expect(page.get_by_text("This password is too common.")).to_be_visible()
    expect(page.get_by_label("Organisation", exact=True)).to_have_value("Café & Söhne")


def test_a_member_who_may_not_invite_sees_no_form_for_it(system: dict[str, Any], open_page: Open, watch: Watch) -> None:
    slug = f"viewers-{uuid4().hex[:8]}"
    owner = open_page()
    tenant = people.sign_up(
        owner, system["web"], organisation="Viewers", slug=slug, name="Ada", email="ada@viewers.example"
    )
    people.invite(owner, tenant, email="vera@viewers.example", role="viewer")
    link = people.link_in_mail(owner, tenant, to="vera@viewers.example")

    vera = open_page()
    vera.goto(link)
    vera.get_by_label("Your name").fill("Vera")
    vera.get_by_label("Choose a password").fill(people.PASSWORD)
    vera.get_by_role("button", name="Join").click()
    vera.goto(f"{tenant}/members")
    expect(vera.get_by_role("link", name="Ada")).to_be_visible()
    expect(vera.get_by_role("button", name="Send the invitation")).to_have_count(0)
    expect(vera.locator("select[name=role]")).to_have_count(0)

    watch.expected = {410}
    vera.goto(link)
    expect(vera.get_by_text("This invitation is no longer valid")).to_be_visible()
