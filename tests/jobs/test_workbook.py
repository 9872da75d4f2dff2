"""XLSX: text stays text, and what a sheet can't hold goes on in the next one."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import orjson
import pytest

from accounts.models import User
from activity.jobs.workbook import CELL_LETTERS, Workbook
from tenants.context import use_tenant
from tests.accounts.conftest import Api
from tests.jobs.conftest import Lasting, body_of, run

FORMULAS = ["=1+1", "+49", "-2", "@sum", "https://example.com", '=HYPERLINK("x")', "plain", "Zoë <&>"]


def parts_of(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def sheets_of(content: bytes) -> list[str]:
    return [text for name, text in sorted(parts_of(content).items()) if name.startswith("xl/worksheets/sheet")]


def made(rows: list[list[Any]], **options: Any) -> bytes:
    file = io.BytesIO()
    with Workbook(file, title="Members", columns=["a", "b"], **options) as workbook:
        for row in rows:
            workbook.write(row)
    return file.getvalue()


def test_what_looks_like_a_formula_or_a_link_is_text() -> None:
    content = made([[text, True] for text in FORMULAS])
    (sheet,) = sheets_of(content)
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert sheet.count('t="inlineStr"') == len(FORMULAS) + 2
    assert "=1+1" in sheet


def test_the_control_writes_a_formula() -> None:
    """The same through xlsxwriter's own choice of types: `write`."""
    import xlsxwriter

    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    book.add_worksheet().write(0, 0, "=1+1")
    book.close()
    assert "<f>1+1</f>" in sheets_of(file.getvalue())[0]


def test_a_sheet_that_is_full_is_followed_by_another() -> None:
    content = made([[number, None] for number in range(10)], sheet_rows=5)  # smaller than Excel's 1,048,576
    sheets = sheets_of(content)
    assert [sheet.count("<row ") for sheet in sheets] == [5, 5, 3]  # each with its header
    names = re.findall(r'<sheet name="([^"]+)"', parts_of(content)["xl/workbook.xml"])
    assert names == ["Members", "Members 2", "Members 3"]


def test_a_text_that_is_too_long_for_a_cell_is_cut() -> None:
    (sheet,) = sheets_of(made([["x" * (CELL_LETTERS + 1), 1]]))
    assert sheet.count("x" * CELL_LETTERS) == 1
    assert "x" * (CELL_LETTERS + 1) not in sheet


def test_a_block_that_raises_leaves_no_file_half_packed() -> None:
    file = io.BytesIO()
    with pytest.raises(KeyError), Workbook(file, title="a", columns=["a"]):
        raise KeyError
    assert file.getvalue() == b""


def test_members_as_xlsx(lasting: Lasting, lasting_api: Api) -> None:
    with use_tenant(lasting.ref):
        User.objects.create_user("formula@example.com", None, name="=1+1", role="viewer")
        count = User.objects.count()
    answer = lasting_api.post("/jobs", {"kind": "members.export", "params": {"format": "xlsx"}})
    job = run(lasting.ref, answer.json()["id"])
    assert (job.state, job.done, job.result_name) == ("succeeded", count, "members.xlsx"), job.error
    file = lasting.get(lasting_api, f"/jobs/{job.pk}/result")
    assert file["Content-Type"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    (sheet,) = sheets_of(body_of(file))
    assert sheet.count("<row ") == count + 1
    assert "<f>" not in sheet
    assert "last_login_at" in sheet
    assert orjson.dumps(lasting.owner.email).decode().strip('"') in sheet


def test_a_format_that_is_not_there_is_422(lasting_api: Api) -> None:
    answer = lasting_api.post("/jobs", {"kind": "members.export", "params": {"format": "ods"}})
    assert answer.status_code == 422
    assert "params.format" in answer.json()["errors"]
