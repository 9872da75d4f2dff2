"""XLSX is read as Excel writes it, and what is sent to do harm is refused before it does."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import date, datetime, time
from typing import Any

import pytest

from activity.jobs import reading, xlsx_files, xlsx_parts
from activity.jobs.errors import JobFailed, UploadRefused
from activity.jobs.tables import MAX_COLUMNS, Layout, Row
from activity.jobs.xlsx_files import XlsxTable
from tests.jobs.workbooks import written
from tests.operations.processes import ROOT

TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

SHEET = f'<worksheet xmlns="{_MAIN}"><dimension ref="A1:XFD1048576"/><sheetData>{{}}</sheetData></worksheet>'


def relations(**targets: str) -> bytes:
    inner = "".join(
        f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for name, (kind, _, target) in ((name, value.partition("=")) for name, value in targets.items())
    )
    return f'<?xml version="1.0"?><Relationships xmlns="{_RELATIONS}">{inner}</Relationships>'.encode()


def parts(rows: str = "", *, shared: str = "", styles: str = "", book: str = "", sheets: str = "") -> dict[str, bytes]:
    """The parts of a workbook by their names, the sheet's rows written out."""
    sheets = sheets or '<sheet name="One" sheetId="1" r:id="r1"/>'
    return {
        "[Content_Types].xml": TYPES,
        "_rels/.rels": relations(r1="officeDocument=xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">{book}<sheets>{sheets}</sheets></workbook>'.encode(),
        "xl/_rels/workbook.xml.rels": relations(
            r1="worksheet=worksheets/sheet1.xml",
            r2="worksheet=worksheets/sheet2.xml",
            r3="styles=styles.xml",
            r4="sharedStrings=/xl/sharedStrings.xml",
        ),
        "xl/worksheets/sheet1.xml": SHEET.format(rows).encode(),
        "xl/worksheets/sheet2.xml": SHEET.format('<row><c t="str"><v>second</v></c></row>').encode(),
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}">{styles}</styleSheet>'.encode(),
        "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}">{shared}</sst>'.encode(),
    }


def zipped(content: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    file.seek(0)
    return file


def made(rows: str = "", **facts: str) -> XlsxTable:
    return XlsxTable(zipped(parts(rows, **facts)))


def text(reference: str, value: str) -> str:
    return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'


HEADER = f'<row r="1">{text("A1", "email")}{text("B1", "name")}</row>'


def row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


@pytest.mark.parametrize("constant_memory", [False, True], ids=["shared texts", "texts in cells"])
def test_a_sheet_is_read_as_a_library_wrote_it(constant_memory: bool) -> None:
    rows = [
        ["email", "name", "role"],
        ["a@b.example", "Zoë 李 & <b>", "viewer"],
        [None, None],
        [None, "Cy"],
        ["c", "", "x"],
    ]
    table = XlsxTable(written(rows, constant_memory=constant_memory))
    assert table.header == ("email", "name", "role")
    expected = [Row(2, ["a@b.example", "Zoë 李 & <b>", "viewer"]), Row(4, ["", "Cy"]), Row(5, ["c", "", "x"])]
    assert list(table.rows()) == list(table.rows()) == expected


def test_the_cells_of_a_row_become_text() -> None:
    cells = [
        3,
        3.5,
        -0.25,
        1e20,
        4915112345678,
        True,
        False,
        date(2026, 1, 31),
        datetime.fromisoformat("2026-01-31T12:30:00"),
        time(12, 30),
    ]
    expected = [
        "3", "3.5", "-0.25", "1e+20", "4915112345678", "true", "false", "2026-01-31", "2026-01-31T12:30:00", "12:30:00",
    ]  # fmt: skip
    table = XlsxTable(written([["x"] * len(cells), cells]))
    assert [found.cells for found in table.rows()] == [expected]


def test_dates_of_the_other_calendar_are_the_same_dates() -> None:
    table = XlsxTable(written([["x"], [date(2026, 1, 31)]], date_1904=True))
    assert [found.cells for found in table.rows()] == [["2026-01-31"]]


@pytest.mark.parametrize(
    ("serial", "shown"),
    [("1", "1900-01-01"), ("59", "1900-02-28"), ("61", "1900-03-01"), ("46053", "2026-01-31"), ("46053.99999999", "2026-02-01"),
     ("-1", "-1"), ("2958466", "2958466"), ("0", "00:00:00"), ("x", "x")],
)  # fmt: skip
def test_a_day_by_its_number(serial: str, shown: str) -> None:
    styles = '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    table = made(HEADER + row(2, f'<c r="A2" s="1"><v>{serial}</v></c>'), styles=styles)
    assert [found.cells for found in table.rows()] == [[shown]]


@pytest.mark.parametrize(
    ("code", "is_date"),
    [("yyyy-mm-dd", True), ("[$-409]d mmm", True), ("hh:mm AM/PM", True), ("General", False), ("0.00", False), ('"day" 0', False),
     ("[Red]0", False), ("[h]:mm", False), (r"0\d", False), ("@", False), ("0;yyyy", False)],
)  # fmt: skip
def test_a_format_of_somebodys_own_shows_a_date_or_not(code: str, is_date: bool) -> None:
    code = code.replace("&", "&amp;").replace('"', "&quot;")
    styles = f'<numFmts><numFmt numFmtId="170" formatCode="{code}"/></numFmts><cellXfs><xf numFmtId="170"/></cellXfs>'
    table = made(HEADER + row(2, '<c r="A2" s="0"><v>46053.5</v></c>'), styles=styles)
    assert [found.cells for found in table.rows()] == [["2026-01-31T12:00:00" if is_date else "46053.5"]]


def test_a_formula_is_what_it_came_to() -> None:
    cells = (
        '<c r="A2" t="str"><f>LOWER("A@B.EXAMPLE")</f><v>a@b.example</v></c>',
        '<c r="B2"><f>1+1</f><v>2</v></c>',
        '<c r="C2"><f>NOW()</f></c>',
        '<c r="D2" t="e"><f>1/0</f><v>#DIV/0!</v></c>',
    )
    assert [found.cells for found in made(HEADER + row(2, *cells)).rows()] == [["a@b.example", "2", "", "#DIV/0!"]]


def test_rich_texts_are_one_text_without_how_they_are_pronounced() -> None:
    shared = "<si><t>unused</t></si><si><r><t>東</t></r><r><rPr><b/></rPr><t>京</t></r><rPh sb='0' eb='2'><t>トウキョウ</t></rPh></si>"
    table = made(HEADER + row(2, '<c r="A2" t="s"><v>1</v></c>', text("B2", "a_x000D_b_x005F_")), shared=shared)
    assert [found.cells for found in table.rows()] == [["東京", "a\rb_"]]


def test_rows_and_cells_without_references_follow_each_other() -> None:
    table = made("<row><c t='str'><v>email</v></c></row><row/><row><c/><c t='str'><v>x</v></c></row>")
    assert (table.header, list(table.rows())) == (("email",), [Row(3, ["", "x"])])


def test_names_with_a_prefix_are_the_same_names() -> None:
    inner = '<x:row r="1"><x:c t="str"><x:v>email</x:v></x:c></x:row>'
    sheet = f'<x:worksheet xmlns:x="{_MAIN}"><x:sheetData>{inner}</x:sheetData></x:worksheet>'
    assert XlsxTable(zipped({**parts(), "xl/worksheets/sheet1.xml": sheet.encode()})).header == ("email",)


def test_the_first_sheet_counts_by_the_workbooks_order() -> None:
    sheets = '<sheet name="B" sheetId="2" r:id="r2"/><sheet name="A" sheetId="1" r:id="r1"/>'
    assert made(HEADER, sheets=sheets).header == ("second",)


def test_the_header_is_the_first_row_that_is_not_empty() -> None:
    table = made(row(3, text("B3", "email")) + row(9, text("B9", "x")))
    assert table.header == ("", "email")
    assert list(table.rows()) == [Row(9, ["", "x"])]


def test_a_sheet_without_cells_has_no_header() -> None:
    assert (made().header, list(made().rows())) == ((), [])


def test_what_lies_far_out_is_too_much_and_costs_nothing() -> None:
    [found] = made(HEADER + row(2, text("A2", "x"), text("XFD2", "far"))).rows()
    assert len(found.cells) == MAX_COLUMNS + 1
    assert found.cells[-1] == "far"


def test_a_header_that_is_too_wide_is_refused() -> None:
    with pytest.raises(UploadRefused, match=f"more than {MAX_COLUMNS} columns"):
        _ = made(row(1, text("A1", "email"), text("ZZ1", "far"))).header


def test_a_huge_dimension_is_not_believed() -> None:
    """It is in each of these files: a million rows of 16,384 cells. And rows far down are not counted one by one."""
    assert [found.number for found in made(HEADER + row(1_048_576, text("A1", "x"))).rows()] == [1_048_576]


class TestRefused:
    """Files that nobody sends on purpose, or somebody who means harm."""

    @pytest.mark.parametrize(
        "rows",
        [
            HEADER + row(1_048_577, text("A1", "x")),
            HEADER + row(5, text("A5", "x")) + row(4, text("A4", "x")),
            HEADER + row(2, text("XFE2", "x")),
            HEADER + row(2, '<c r="!" t="str"><v>x</v></c>'),
            HEADER + row(2, '<c t="s"><v>7</v></c>'),
            HEADER + row(2, '<c t="s"><v>-1</v></c>'),
            HEADER + "<row><c></row>",
            "<a>" * 200,
        ],
    )
    def test_a_damaged_sheet(self, rows: str) -> None:
        with pytest.raises(JobFailed, match="damaged"):
            list(made(rows).rows())

    @pytest.mark.parametrize(
        "missing", ["_rels/.rels", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/worksheets/sheet1.xml"]
    )
    def test_a_zip_that_is_no_workbook(self, missing: str) -> None:
        content = parts(HEADER, sheets='<sheet r:id="r1"/>')
        del content[missing]
        with pytest.raises(JobFailed, match="workbook"):
            XlsxTable(zipped(content))

    @pytest.mark.parametrize("content", [b"PK\x03\x04 nonsense", b"PK\x03\x04" + b"\0" * 1000])
    def test_no_zip(self, content: bytes) -> None:
        with pytest.raises(JobFailed, match="isn't an Excel workbook"):
            XlsxTable(io.BytesIO(content))

    def test_a_file_that_was_cut_off(self) -> None:
        content = zipped(parts(HEADER)).getvalue()
        with pytest.raises(JobFailed):
            XlsxTable(io.BytesIO(content[: len(content) // 2]))

    def test_bytes_that_were_changed_on_the_way(self) -> None:
        rows = HEADER + "".join(row(number, text(f"A{number}", os.urandom(20).hex())) for number in range(2, 2000))
        content = bytearray(zipped(parts(rows)).getvalue())
        place = content.index(b"xl/worksheets/sheet1.xml") + 5_000
        content[place : place + 50] = b"\xaa" * 50
        with pytest.raises(JobFailed, match="damaged"):
            list(XlsxTable(io.BytesIO(bytes(content))).rows())

    @pytest.mark.parametrize(
        "part", ["_rels/.rels", "xl/workbook.xml", "xl/styles.xml", "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"]
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize(
        "doctype",
        ['<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>', "<!DOCTYPE x>"],
    )  # fmt: skip
    def test_a_document_type(self, part: str, encoding: str, doctype: str) -> None:
        content = parts(HEADER + row(2, '<c r="A2" t="s"><v>0</v></c>'), shared="<si><t>x</t></si>")
        body = content[part].decode().replace('<?xml version="1.0"?>', "")
        content[part] = (f'<?xml version="1.0" encoding="{encoding}"?>' + doctype + body).encode(encoding)
        with pytest.raises(JobFailed, match="document type"):
            list(XlsxTable(zipped(content)).rows())

    def test_a_part_in_utf_16_without_one_is_read(self) -> None:
        """The control of the test above."""
        content = parts(HEADER + row(2, '<c r="A2" t="s"><v>0</v></c>'), shared="<si><t>ë</t></si>")
        body = content["xl/sharedStrings.xml"].decode()
        content["xl/sharedStrings.xml"] = ('<?xml version="1.0" encoding="utf-16"?>' + body).encode("utf-16")
        assert [found.cells for found in XlsxTable(zipped(content)).rows()] == [["ë"]]

    def test_more_than_may_be_unpacked_by_what_is_declared(self, settings: Any) -> None:
        settings.UPLOAD_MAX_BYTES = 100_000
        bomb = {**parts(HEADER), "xl/media/picture": b"\0" * (xlsx_parts.UNPACKED * 100_000)}
        assert len(zipped(bomb).getvalue()) < 10_000
        with pytest.raises(JobFailed, match="too large"):
            XlsxTable(zipped(bomb))

    def test_more_than_may_be_unpacked_by_what_comes(self, settings: Any) -> None:
        """The directory says that the sheet has 1,000 bytes; what a ZIP declares bounds what is unpacked, and its end doesn't fit then."""
        settings.UPLOAD_MAX_BYTES = 100_000
        content = parts(HEADER + "<!-- -->" * 200_000)
        size = len(content["xl/worksheets/sheet1.xml"])
        lying = zipped(content).getvalue().replace(struct.pack("<I", size), struct.pack("<I", 1_000))
        with pytest.raises(JobFailed, match="damaged"):
            list(XlsxTable(io.BytesIO(lying)).rows())

    def test_what_is_unpacked_is_counted_whatever_is_declared(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.UPLOAD_MAX_BYTES = 100_000
        content = zipped(parts(HEADER + "<!-- -->" * 200_000))
        monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: [])  # the first bound taken out
        with pytest.raises(JobFailed, match="too large"):
            list(XlsxTable(content).rows())

    def test_two_readings_of_what_may_be_read_once_are_no_bomb(self, settings: Any) -> None:
        """The control of the tests above."""
        settings.UPLOAD_MAX_BYTES = 10_000
        table = made(HEADER + "<!-- -->" * 5_000 + row(2, text("A2", "x")))
        assert list(table.rows()) == list(table.rows()) == [Row(2, ["x"])]

    def test_first_rows_that_lie_deep_for_somebody_who_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xlsx_parts, "GLANCE", 100_000)
        content = parts("<!-- -->" * 20_000 + HEADER)
        with pytest.raises(JobFailed, match="behind too much else"):
            _ = XlsxTable(zipped(content), at_a_glance=True).header
        assert XlsxTable(zipped(content)).header == ("email", "name")  # a job has the time
        assert XlsxTable(zipped(parts(HEADER)), at_a_glance=True).header == ("email", "name")

    def test_a_directory_that_would_fill_memory(self) -> None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for number in range(20_000):
                archive.writestr(f"xl/{number}", b"")
        with pytest.raises(JobFailed, match="isn't an Excel workbook"):
            XlsxTable(file)

    @pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_packing_that_excel_has_not(self, compression: int) -> None:
        with pytest.raises(JobFailed, match="damaged"):
            XlsxTable(zipped(parts(HEADER), compression))

    def test_a_locked_part(self) -> None:
        content = bytearray(zipped(parts(HEADER), zipfile.ZIP_STORED).getvalue())
        place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"_rels/.rels"))
        content[place + 8] |= 1
        with pytest.raises(JobFailed, match="password"):
            XlsxTable(io.BytesIO(bytes(content)))

    @pytest.mark.parametrize(
        "rows",
        [
            f'<row r="1" spans="{"1" * 3_000_000}">',
            "".join(f"<n{number}/>" for number in range(xlsx_parts.MAX_NAMES * 2)),
            "".join(f"<c a{number}=''/>" for number in range(xlsx_parts.MAX_NAMES * 2)),
            "<!--" + "x" * 3_000_000 + "-->",
        ],
        ids=["an attribute", "names of elements", "names of attributes", "a comment"],
    )
    def test_xml_that_would_fill_memory(self, rows: str) -> None:
        with pytest.raises(JobFailed, match="damaged"):
            list(made(HEADER + rows).rows())

    def test_a_cell_that_would_fill_memory(self) -> None:
        with pytest.raises(JobFailed, match="a row or a cell of more than"):
            list(made(HEADER + row(2, text("A2", "x" * 2_000_000))).rows())
        with pytest.raises(JobFailed, match="a row or a cell of more than"):
            list(made(HEADER + row(2, '<c t="s"><v>0</v></c>'), shared=f"<si><t>{'x' * 2_000_000}</t></si>").rows())

    def test_a_row_that_would_fill_memory(self) -> None:
        cells = [f"<c t='str'><v>{'x' * 300_000}</v></c>"] * 4
        with pytest.raises(JobFailed, match="a row or a cell of more than"):
            list(made(HEADER + row(2, *cells)).rows())
        shared = f"<si><t>{'x' * 300_000}</t></si>"
        with pytest.raises(JobFailed, match="a row or a cell of more than"):
            list(made(HEADER + row(2, *["<c t='s'><v>0</v></c>"] * 4), shared=shared).rows())

    def test_a_long_text_that_many_rows_share_is_held_once_at_a_time(self) -> None:
        table = made(
            HEADER + "<row><c t='s'><v>0</v></c></row>" * 400, shared=f"<si><t>{'x' * xlsx_files.MAX_LINE}</t></si>"
        )
        tracemalloc.start()
        try:
            assert sum(1 for _ in table.rows()) == 400
            assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
        finally:
            tracemalloc.stop()

    def test_a_text_in_many_pieces(self) -> None:
        table = made(HEADER + row(2, "<c t='str'><v>" + "東<x/>" * 200_000 + "</v></c>"))
        tracemalloc.start()
        try:
            assert [found.cells for found in table.rows()] == [["東" * 200_000]]
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("part", ["_rels/.rels", "xl/_rels/workbook.xml.rels", "xl/styles.xml"])
    def test_a_part_that_would_fill_memory(self, part: str) -> None:
        content = parts(HEADER)
        head, slash, tail = content[part].rpartition(b"</")
        content[part] = head + b" " * xlsx_parts.MAX_SMALL + slash + tail
        with pytest.raises(JobFailed, match="too large"):
            XlsxTable(zipped(content))

    def test_more_parts_than_a_workbook_has(self) -> None:
        content = parts(HEADER)
        many = "".join(
            f'<Relationship Id="q{number}" Type="x" Target="x"/>' for number in range(xlsx_parts.MAX_RELATED)
        )
        place = "xl/_rels/workbook.xml.rels"
        content[place] = content[place].replace(b"</Relationships>", many.encode() + b"</Relationships>")
        with pytest.raises(JobFailed, match="damaged"):
            XlsxTable(zipped(content))

    @pytest.mark.parametrize("encoding", ["nothing", "utf-7", "shift_jis", "rot13"])
    def test_an_encoding_that_nobody_knows(self, encoding: str) -> None:
        content = parts(HEADER)
        declaration = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
        content["xl/worksheets/sheet1.xml"] = declaration + content["xl/worksheets/sheet1.xml"]
        with pytest.raises(JobFailed, match="damaged"):
            list(XlsxTable(zipped(content)).rows())

    def test_a_number_of_a_format_that_is_none(self) -> None:
        styles = f'<cellXfs><xf numFmtId="{"1" * 5_000}"/></cellXfs>'
        assert made(HEADER, styles=styles).header == ("email", "name")

    def test_half_of_a_pair_of_surrogates(self) -> None:
        cells = [text("A2", "_xD800__x0041_"), '<c r="B2" t="s"><v>0</v></c>']
        table = made(HEADER + row(2, *cells), shared="<si><t>_xdfff_</t></si>")
        assert [found.cells for found in table.rows()] == [["_xD800_A", "_xdfff_"]]

    def test_first_rows_that_take_too_long_for_somebody_who_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "GLANCE_TIME", 0.2)
        with pytest.raises(UploadRefused, match="behind too much else"):
            reading.header_of(zipped(parts("<c/>" * 3_000_000 + HEADER)), Layout("xlsx"))

    def test_more_texts_than_may_be_shared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xlsx_files, "MAX_TEXTS", 3)
        with pytest.raises(JobFailed, match="more than 3 texts"):
            list(made(HEADER + row(2, '<c t="s"><v>2</v></c>'), shared="<si><t>x</t></si>" * 4).rows())

    def test_a_sheet_that_lies_outside(self) -> None:
        content = parts(HEADER)
        target = b'Target="worksheets/sheet1.xml"'
        outside = content["xl/_rels/workbook.xml.rels"].replace(
            target, b'Target="file:///etc/passwd" TargetMode="External"'
        )
        with pytest.raises(JobFailed, match="no sheet with cells"):
            XlsxTable(zipped({**content, "xl/_rels/workbook.xml.rels": outside}))


@pytest.mark.parametrize("texts", ["shared", "cells"])
def test_reading_takes_the_same_memory_however_many_rows_there_are(texts: str) -> None:
    """20,000 rows of which each has two texts of its own. `tests/faults/test_import.py` measures a worker with many more."""
    command = [sys.executable, "-m", "tests.jobs.xlsx_memory", texts]
    growth = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    assert int(growth) < 2**20
