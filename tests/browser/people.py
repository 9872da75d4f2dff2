"""What people do on the pages, said once."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

PASSWORD = "correct horse battery staple"


def sign_up(page: Page, control: str, *, organisation: str, slug: str, name: str, email: str) -> str:
    """Make an organisation on the control host; answers its URL, where the owner is signed in."""
    page.goto(control)
    page.get_by_role("link", name="Create your organisation").click()
    page.get_by_label("Organisation", exact=True).fill(organisation)
    page.get_by_label("Address", exact=True).fill(slug)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Your e-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create organisation").click()
    expect(page.get_by_role("heading", name="Dashboard", level=1)).to_be_visible(timeout=30_000)
    here = urlsplit(page.url)
    return f"{here.scheme}://{here.netloc}"


def sign_in(page: Page, tenant: str, *, email: str, password: str = PASSWORD) -> None:
    """Sign in on a tenant's host."""
    page.goto(f"{tenant}/login")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Dashboard", level=1)).to_be_visible()


def sign_out(page: Page, *, name: str) -> None:
    """Sign out by the menu."""
    page.get_by_role("button", name=name).click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in", level=1)).to_be_visible()


def invite(page: Page, tenant: str, *, email: str, role: str = "member") -> None:
    """Invite somebody, as one who may."""
    page.goto(f"{tenant}/members")
    page.get_by_label("E-mail address", exact=True).fill(email)
    page.get_by_label("Role", exact=True).select_option(role)
    page.get_by_role("button", name="Send the invitation").click()
    expect(page.get_by_text(f"{email} is invited.")).to_be_visible()


def link_in_mail(page: Page, tenant: str, *, to: str) -> str:
    """The link in the newest mail to an address, read from the outbox page."""
    page.goto(f"{tenant}/outbox")
    page.get_by_role("row").filter(has_text=to).first.get_by_role("link").click()
    href = page.locator("[data-mail]").get_by_role("link", name=re.compile("^http")).get_attribute("href")
    assert href
    return href


def create_token(page: Page, tenant: str, *, name: str) -> str:
    """Make an API token; answers its secret, which is shown this once."""
    page.goto(f"{tenant}/tokens")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create the token").click()
    secret = page.locator("#token-secret")
    expect(secret).to_contain_text("tnt_")
    return secret.inner_text()
