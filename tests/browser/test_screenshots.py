"""Takes the pictures in docs/screenshots, with the demo's data: `make screenshots`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser import people, scenes
from tests.browser.conftest import Open
from tests.browser.watch import Watch

pytestmark = [pytest.mark.screenshots, pytest.mark.xdist_group("system")]

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
LONGEST = 1600  # pixels: of a long page its beginning is enough


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_take_them(system: dict[str, Any], open_page: Open, watch: Watch, theme: str, width: int) -> None:
    watch.expected = scenes.REFUSALS
    FOLDER.mkdir(parents=True, exist_ok=True)
    stage = scenes.set_stage(open_page(), system)
    page = open_page(width=width, theme=theme)
    for name, scene in scenes.OPEN.items():
        scene(page, stage)
        take(page, name)
        page.context.clear_cookies()
    people.sign_in(page, stage.tenant, email=stage.email, password=stage.password)
    for name, scene in scenes.SIGNED_IN.items():
        scene(page, stage)
        take(page, name)
    for name, scene in scenes.OPERATOR.items():
        scene(page, stage)
        take(page, name)


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    theme = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
    size = page.viewport_size or {"width": 0, "height": 0}
    shape = "wide" if size["width"] > 600 else "narrow"
    content = int(page.evaluate("document.documentElement.scrollHeight"))
    # The window as tall as the page, not a "full page": what is fixed to the window would float in the middle.
    page.set_viewport_size({"width": size["width"], "height": min(max(content, size["height"]), LONGEST)})
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=FOLDER / f"{name}-{theme}-{shape}.png", animations="disabled", caret="hide")
    page.set_viewport_size(size)  # type: ignore[arg-type]
