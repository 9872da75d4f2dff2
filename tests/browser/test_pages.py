"""Every page, light and dark, wide and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser import people, scenes
from tests.browser.conftest import Open
from tests.browser.watch import Watch

pytestmark = pytest.mark.xdist_group("system")

# Inputs that a screen reader would announce with no name.
UNNAMED = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
  .filter((field) => !field.labels?.length && !field.getAttribute("aria-label"))
  .map((field) => field.outerHTML)"""
# Buttons and links of an icon alone need a name too.
SILENT = """() => [...document.querySelectorAll("button, a[href]")]
  .filter((it) => !it.textContent.trim() && !it.getAttribute("aria-label"))
  .map((it) => it.outerHTML)"""
DUPLICATE_IDS = """() => {
  const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
  return ids.filter((id, index) => ids.indexOf(id) !== index);
}"""
# Two frames: what watches the window's size has drawn by then.
LAID_OUT = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
WIDE, NARROW = 1280, 390


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (NARROW, "dark")])
def test_every_page_is_whole(system: dict[str, Any], open_page: Open, watch: Watch, width: int, theme: str) -> None:
    """Each page is looked at as it opened, then in a window of the other width and in the other theme."""
    watch.expected = scenes.REFUSALS
    stage = scenes.set_stage(open_page(), system)
    page = open_page(width=width, theme=theme)
    faults: list[str] = []
    for name, scene in scenes.OPEN.items():
        scene(page, stage)
        faults += [f"{name}: {fault}" for fault in faults_in_all(page, width, theme)]
        page.context.clear_cookies()
    people.sign_in(page, stage.tenant, email=stage.email, password=stage.password)
    for name, scene in scenes.SIGNED_IN.items():
        scene(page, stage)
        faults += [f"{name}: {fault}" for fault in faults_in_all(page, width, theme)]
    assert not faults, "\n".join(faults)


def faults_in_all(page: Page, width: int, theme: str) -> list[str]:
    """What is wrong with a page in either width and theme; it is left as it was."""
    faults = faults_of(page, theme)
    other_width, other_theme = WIDE + NARROW - width, "dark" if theme == "light" else "light"
    for each_width, each_theme in ((other_width, theme), (other_width, other_theme), (width, other_theme)):
        page.set_viewport_size({"width": each_width, "height": 800})
        page.emulate_media(color_scheme=each_theme)  # type: ignore[arg-type]
        page.evaluate(LAID_OUT)
        faults += [f"{fault} (made {each_width} wide and {each_theme})" for fault in faults_of(page, each_theme)]
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    return faults


def faults_of(page: Page, theme: str) -> list[str]:
    page.wait_for_load_state("load")
    faults = []
    if page.locator("h1").count() != 1:
        faults.append(f"{page.locator('h1').count()} h1")
    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        faults.append("scrolls sideways")
    if page.locator("html").get_attribute("data-bs-theme") != theme:
        faults.append(f"is not {theme}")
    if not page.title().strip():
        faults.append("has no title")
    faults += [f"unnamed {field}" for field in page.evaluate(UNNAMED)]
    faults += [f"silent {it}" for it in page.evaluate(SILENT)]
    faults += [f"id {name!r} twice" for name in page.evaluate(DUPLICATE_IDS)]
    return faults


def test_the_watch_sees_what_the_policy_refuses(system: dict[str, Any], open_page: Open, watch: Watch) -> None:
    """The control of the test above: it would fail if a page had a script or a style of its own."""
    page = open_page()
    page.goto(system["web"])
    assert not watch.complaints
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert len(watch.complaints) == 2
    watch.complaints.clear()


def test_the_theme_that_somebody_chose_is_remembered(system: dict[str, Any], open_page: Open) -> None:
    page = open_page(theme="light")
    page.goto(system["web"])
    page.get_by_role("button", name="Switch between light and dark").click()
    page.goto(f"{system['web']}/signup")
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"


def test_the_keyboard_reaches_the_content_first(system: dict[str, Any], open_page: Open) -> None:
    page = open_page()
    page.goto(system["web"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
