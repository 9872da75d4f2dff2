"""A person makes an export and an archive, downloads them, and hands a link to somebody who has no account."""

from __future__ import annotations

import zipfile
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import people
from tests.browser.conftest import Open

pytestmark = pytest.mark.xdist_group("system")


def ended(page: Page) -> None:
    expect(page.get_by_role("status").first).to_have_text("succeeded")


def test_a_file_is_downloaded_and_handed_on_by_a_link(
    system: dict[str, Any], open_page: Open, watch: Any, tmp_path: Any
) -> None:
    page = open_page()
    demo = system["tenants"][0]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    page.goto(f"{tenant}/members")
    page.get_by_label("Format of the file").select_option("xlsx")
    page.get_by_role("button", name="Export").click()
    ended(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download members.xlsx").click()
    with zipfile.ZipFile(download.value.path()) as book:
        assert "xl/worksheets/sheet1.xml" in book.namelist()

    page.get_by_label("Link for somebody without an account").select_option("86400")
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("Whoever has this link can download the file").input_value()
    stranger = open_page()  # a profile of its own: no session
    with stranger.expect_download() as handed:
        stranger.evaluate("link => { window.location.href = link }", link)
    assert handed.value.path().read_bytes() == download.value.path().read_bytes()
    watch.expected.add(404)
    stranger.goto(f"{link}x")
    expect(stranger.get_by_text("This link is not complete")).to_be_visible()


def test_an_archive_from_the_settings(system: dict[str, Any], open_page: Open) -> None:
    page = open_page(width=390, theme="dark")
    demo = system["tenants"][0]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    page.goto(f"{tenant}/settings")
    page.get_by_role("button", name="Make an archive").click()
    expect(page.get_by_role("heading", name="Archive of the organisation", level=1)).to_be_visible()
    ended(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"manifest.json", "members/members.ndjson", "settings/tenant.json"} <= set(archive.namelist())
