"""A person brings a messy list of 10,000 people in, watches it, reads what was refused, finds one, and takes all of them out again."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser import people
from tests.browser.conftest import Open

pytestmark = pytest.mark.xdist_group("system")

NAMES = [
    "Zoë Müller",
    "李小龙",
    "O'Brien, Pat",
    "Semi; Colon",
    'The "Rock"',
    "two\nlines",
    "=1+1",
    "+49 30",
    "-2",
    "@sum",
    "'=quoted",
    "",
]
GOOD, REPEATS, BAD = 9_850, 50, 100


def messy(folder: Path) -> tuple[Path, dict[str, str]]:
    """A file as people make them, and the members that it must become, name by address.

    A BOM, semicolons, line ends within quotes, repeats in other case, bad addresses, cells that look like formulas, and
    lines with nothing in them.
    """
    chance = random.Random(42)
    cells = {f"Person{number}@people.example": NAMES[number % len(NAMES)] for number in range(GOOD)}
    rows = [[name, email, "a note\r\nof two lines" if chance.random() < 0.1 else ""] for email, name in cells.items()]
    wanted = {email: taken_off(name) for email, name in cells.items()}
    repeats = [["Somebody else", email.upper(), ""] for email in chance.sample(list(wanted), REPEATS)]
    bad = [
        ["Nobody", address, ""]
        for number in range(BAD // 4)
        for address in (f"no-at-{number}", f"@{number}", f"a b{number}@x.example", "")
    ]
    later = repeats + bad
    chance.shuffle(later)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(["Full name", "E-Mail", "Notes"])
    for number, row in enumerate(rows + later):
        writer.writerow(row)
        if number % 500 == 0:
            text.write("\r\n;;\r\n   \r\n")
    path = folder / "people.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    return path, wanted


def run(page: Page, tenant: str, file: Path) -> list[float]:
    """Import a file; answers what the bar showed meanwhile, in percent."""
    page.goto(f"{tenant}/members")
    page.get_by_role("link", name="Import", exact=True).click()
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="Import of members", level=1)).to_be_visible()
    return watch(page)


def watch(page: Page) -> list[float]:
    """Look at the bar until the job has ended."""
    shown: list[float] = []
    bar = page.get_by_role("progressbar", name="Progress of")
    for _ in range(600):
        expect(bar).to_be_visible()
        # The state before the bar: what is shown of an ended job is its end.
        has_ended = page.get_by_role("status").inner_text() in {"succeeded", "failed", "cancelled"}
        shown.append(bar.evaluate("bar => bar.position * 100"))
        if has_ended:
            break
        page.wait_for_timeout(100)
    expect(page.get_by_role("status")).to_have_text("succeeded")
    return shown


def counts(page: Page) -> dict[str, int]:
    names, numbers = page.locator(".job-counts dt").all_inner_texts(), page.locator(".job-counts dd").all_inner_texts()
    return {name: int(number.replace(",", "")) for name, number in zip(names, numbers, strict=True)}


def downloaded(page: Page, link: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    return list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"), newline="")))


def test_a_messy_list_comes_in_and_goes_out_again(system: dict[str, Any], open_page: Open, tmp_path: Path) -> None:
    slug = f"import-{uuid4().hex[:8]}"
    page = open_page()
    tenant = people.sign_up(
        page, system["web"], organisation="Import Labs", slug=slug, name="Ada Lovelace", email="ada@import.example"
    )
    file, wanted = messy(tmp_path)

    shown = run(page, tenant, file)
    moving = [value for value in shown if value >= 0]  # -1 while the rows are being counted
    assert moving == sorted(moving)
    assert moving[-1] == 100
    assert counts(page) == {"Created": GOOD, "Updated": 0, "Unchanged": 0, "Refused": REPEATS + BAD}
    expect(page.get_by_role("heading", name="Rows that were not taken")).to_be_visible()
    report = downloaded(page, "Download the report")
    assert len({line["row"] for line in report}) == REPEATS + BAD
    reasons = [line["reason"] for line in report]
    assert sum("has this address already" in reason for reason in reasons) == REPEATS
    assert sum(reason in {"Enter a valid e-mail address.", "This field is required."} for reason in reasons) == BAD

    page.goto(f"{tenant}/members")
    page.get_by_role("searchbox").fill("person4711@")
    expect(page.locator("#member-rows tbody tr")).to_have_count(1)
    expect(page.locator("#member-rows")).to_contain_text("Person4711@people.example")

    page.goto(f"{tenant}/members")
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("heading", name="Export of members", level=1)).to_be_visible()
    watch(page)
    out = {row["email"]: row["name"] for row in downloaded(page, "Download members.csv")}
    out.pop("ada@import.example")
    assert {email: taken_off(name) for email, name in out.items()} == wanted
    assert not [name for name in out.values() if name.startswith(("=", "+", "-", "@"))]

    run(page, tenant, file)
    assert counts(page) == {"Created": 0, "Updated": 0, "Unchanged": GOOD, "Refused": REPEATS + BAD}

    page.goto(f"{tenant}/activity?action=job.")
    expect(page.locator("[data-action='job.succeeded']")).to_have_count(3)
    expect(page.locator("[data-action='job.started']")).to_have_count(3)


def taken_off(cell: str) -> str:
    """A cell without the apostrophe that keeps a spreadsheet from running it."""
    return cell[1:] if cell.startswith("'") else cell


def test_a_list_in_windows_1252_keeps_its_letters(system: dict[str, Any], open_page: Open, tmp_path: Path) -> None:
    page = open_page(width=390, theme="dark")
    demo = system["tenants"][0]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    name = f"Zoë Weiß – {uuid4().hex[:6]}"
    file = tmp_path / "windows.csv"
    file.write_bytes(f"email\tname\r\n{uuid4().hex}@people.example\t{name}\r\n".encode("cp1252"))
    run(page, tenant, file)
    assert counts(page)["Created"] == 1
    expect(page.get_by_text("Read as cp1252, columns separated by tab.")).to_be_visible()
    page.goto(f"{tenant}/members?q={name.rsplit(maxsplit=1)[-1]}")
    expect(page.get_by_role("link", name=name)).to_be_visible()


def test_what_is_no_list_is_refused_with_a_sentence(
    system: dict[str, Any], open_page: Open, watch: Any, tmp_path: Path
) -> None:
    watch.expected.add(422)
    page = open_page()
    demo = system["tenants"][0]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    file = tmp_path / "names.csv"
    file.write_text("name,role\nAda,admin\n")
    page.goto(f"{tenant}/members/import")
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The first line must name the columns, email among them")


def test_a_running_import_is_cancelled(system: dict[str, Any], open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    demo = system["tenants"][1]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    prefix = uuid4().hex[:8]
    file = tmp_path / "many.csv"
    file.write_text("email\n" + "".join(f"{prefix}-{number}@people.example\n" for number in range(150_000)))
    page.goto(f"{tenant}/members/import")
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("status")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Cancel the job")).to_have_count(0)
