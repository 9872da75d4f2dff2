"""A person brings a messy list of 10,000 people in, watches it, reads what was refused, finds one, and takes all of them out again."""

from __future__ import annotations

import csv
import io
import random
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import xlsxwriter
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
    choose(page, file)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Import of members", level=1)).to_be_visible()
    return watch_job(page)


def choose(page: Page, file: Path) -> None:
    """Choose a file and go on to its columns."""
    page.get_by_label("File with members").set_input_files(file)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Which column is which")).to_be_visible()


def watch_job(page: Page) -> list[float]:
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
    watch_job(page)
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
    expect(page.get_by_text("Read as CSV in Windows-1252, columns separated by tab.")).to_be_visible()
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
    file = tmp_path / "picture.csv"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    page.goto(f"{tenant}/members/import")
    page.get_by_label("File with members").set_input_files(file)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("it looks like a picture")


def workbook(folder: Path, rows: list[list[Any]]) -> Path:
    """An Excel workbook of these rows, and a second sheet that is none of it."""
    path = folder / "people.xlsx"
    book = xlsxwriter.Workbook(path)
    sheet, date = book.add_worksheet("People"), book.add_format({"num_format": "dd/mm/yyyy"})
    for number, cells in enumerate(rows):
        for place, cell in enumerate(cells):
            if isinstance(cell, datetime):
                sheet.write_datetime(number, place, cell, date)
            else:
                sheet.write(number, place, cell)
    book.add_worksheet("Other").write(0, 0, "nothing of it")
    book.close()
    return path


def test_a_workbook_is_looked_at_tried_and_imported(
    system: dict[str, Any], open_page: Open, watch: Any, tmp_path: Path
) -> None:
    """Columns with names of their own, a dry run, and only then the import; all by the keyboard's and screen readers' names."""
    watch.expected.add(422)
    page = open_page(width=390)
    demo = system["tenants"][0]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    word = uuid4().hex[:8]
    joined = datetime.fromisoformat("2026-01-31T00:00:00")
    rows: list[list[Any]] = [["Work address", "Called", "Position", "Since"]]
    rows += [[f"{word}-{number}@people.example", f"Person {word}{number}", "viewer", joined] for number in range(12)]
    rows += [["nobody", "No Address", "", joined], [rows[1][0].upper(), "Again", "", joined]]
    page.goto(f"{tenant}/members/import")
    choose(page, workbook(tmp_path, rows))

    expect(page.locator("#detected")).to_contain_text("XLSX")
    preview = page.get_by_role("region", name="The first rows of the file").get_by_role("table")
    expect(preview.locator("tbody tr")).to_have_count(10)
    expect(preview).to_contain_text(f"{word}-0@people.example")
    expect(preview).to_contain_text("2026-01-31")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("Say which column holds the e-mail address.")

    page.get_by_label("What the column Work address is").select_option(label="e-mail address")
    page.get_by_label("What the column Called is").select_option(label="name")
    page.get_by_label("What the column Position is").select_option(label="role")
    page.get_by_label("Try it first").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("This is a dry run")).to_be_visible()
    watch_job(page)
    assert counts(page) == {"Created": 12, "Updated": 0, "Unchanged": 0, "Refused": 2}
    expect(page.get_by_role("heading", name="Rows that can't be taken")).to_be_visible()
    assert [line["row"] for line in downloaded(page, "Download the report")] == ["14", "15"]
    page.goto(f"{tenant}/members?q={word}")
    expect(page.get_by_text("Nobody")).to_be_visible()

    page.goto(f"{tenant}/jobs?kind=members.import")
    page.locator("#job-rows a").first.click()
    page.get_by_role("link", name="Back to the file").click()
    expect(page.get_by_label("What the column Called is")).to_have_value("name")
    page.get_by_role("button", name="Start").click()
    watch_job(page)
    assert counts(page) == {"Created": 12, "Updated": 0, "Unchanged": 0, "Refused": 2}
    page.goto(f"{tenant}/members?q={word}3")
    expect(page.locator("#member-rows tbody tr")).to_have_count(1)


def test_a_running_import_is_cancelled(system: dict[str, Any], open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    demo = system["tenants"][1]
    tenant = demo["url"].rstrip("/")
    people.sign_in(page, tenant, email=demo["email"], password=demo["password"])
    prefix = uuid4().hex[:8]
    file = tmp_path / "many.csv"
    file.write_text("email\n" + "".join(f"{prefix}-{number}@people.example\n" for number in range(150_000)))
    page.goto(f"{tenant}/members/import")
    choose(page, file)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("status")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Cancel the job")).to_have_count(0)
