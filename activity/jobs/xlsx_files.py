"""Reading XLSX: the first sheet of a workbook, row by row, with the texts that it shares on disk.

Libraries were measured and left out: openpyxl, in its read-only mode, holds all shared texts and an element for each row in memory.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import weakref
from array import array
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cached_property
from typing import IO, Final

from activity.jobs.errors import JobFailed
from activity.jobs.tables import MAX_COLUMNS, MAX_LINE, Row, checked_header
from activity.jobs.xlsx_parts import DAMAGED, NOT_A_WORKBOOK, Parts, local, parsed, parser_of

MAX_ROW: Final = 1_048_576  # what Excel itself has
MAX_PLACE: Final = 16_384
MAX_TEXTS: Final = 5_000_000  # different ones that are shared
MAX_STYLES: Final = 100_000
DONE: Final = object()
TOO_LONG: Final = f"This Excel workbook has a row or a cell of more than {MAX_LINE:,} characters."

_COLUMN: Final = {letter: place for place, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", start=1)}
# The numbers of formats that every workbook has and that show a date or a time of day.
_DATES: Final = {*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)}
# What of a format is no letter of it: quoted and escaped letters, fillers, and what is in brackets, such as a colour.
_NO_FORMAT: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_ELAPSED: Final = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
# Not half of a pair of surrogates, which is no character.
_ESCAPED: Final = re.compile(r"_x((?![Dd][89A-Fa-f])[0-9A-Fa-f]{4})_")
PIECES: Final = 1_000  # of a text, beyond which they are put together: each takes more memory than its letters


class XlsxTable:
    """An XLSX file, of which the first sheet is read. Its first row that isn't empty names the columns; rows have the sheet's own numbers.

    Cells become text: a number without a fraction has none (3), others are written with a point (3.5); dates are 2026-01-31, with
    a time 2026-01-31T12:30:00, times of day 12:30:00; truth values are true and false; a formula is what it came to when the file
    was saved.
    """

    def __init__(self, file: IO[bytes], *, at_a_glance: bool = False) -> None:
        self._parts = Parts(file, at_a_glance=at_a_glance)
        book = next((name for kind, name in self._parts.related("").values() if kind == "officeDocument"), "")
        if book not in self._parts:
            raise JobFailed(NOT_A_WORKBOOK)
        related = self._parts.related(book)
        self._sheet, self._has_1904_dates = self._first_sheet(book, related)
        named = dict(related.values())
        self._is_date = self._date_styles(named.get("styles", ""))
        self._texts = _Texts(self._parts, named.get("sharedStrings", ""))

    @cached_property
    def header(self) -> tuple[str, ...]:
        first = next(self._all_rows(), None)
        return checked_header(first.cells) if first else ()

    def rows(self) -> Iterator[Row]:
        found = self._all_rows()
        next(found, None)
        yield from found

    def _all_rows(self) -> Iterator[Row]:
        self._parts.again()
        sheet = _Sheet(self)
        for _ in parsed(sheet.parser, self._parts.blocks(self._sheet)):
            for number, cells in sheet.rows:
                texts = self._texts_of(cells)
                if any(text.strip() for text in texts):
                    yield Row(number, texts)
            sheet.rows.clear()

    def _texts_of(self, cells: list[str | int]) -> list[str]:
        """The texts of a row. Those that are shared are looked up only now: a few bytes of the sheet may name each of a million letters."""
        texts: list[str] = []
        length = 0
        for cell in cells:
            text = self._texts[cell] if isinstance(cell, int) else cell
            texts.append(text)
            length += len(text)
            if length > MAX_LINE:
                raise JobFailed(TOO_LONG)
        return texts

    def _first_sheet(self, book: str, related: dict[str, tuple[str, str]]) -> tuple[str, bool]:
        has_1904_dates = False
        for element, attributes in self._parts.elements(book):
            if element == "workbookPr":
                has_1904_dates = attributes.get("date1904", "") in {"1", "true"}
            elif element == "sheet":
                kind, name = related.get(attributes.get("id", ""), ("", ""))
                if kind == "worksheet" and name in self._parts:
                    return name, has_1904_dates
        raise JobFailed("This Excel workbook has no sheet with cells.")

    def _date_styles(self, part: str) -> list[bool]:
        """Whether cells of each style show dates, by the style's number."""
        if part not in self._parts:
            return []
        styles: list[bool] = []
        own: dict[str, bool] = {}
        is_of_cells = False
        for element, attributes in self._parts.elements(part):
            if element == "numFmt":
                own[attributes.get("numFmtId", "")] = _shows_a_date(attributes.get("formatCode", ""))
            elif element in {"cellXfs", "cellStyleXfs", "cellStyles", "dxfs"}:
                is_of_cells = element == "cellXfs"
            elif element == "xf" and is_of_cells:
                number = attributes.get("numFmtId", "0")
                styles.append(own.get(number, number.isdecimal() and len(number) < 10 and int(number) in _DATES))
            if len(styles) > MAX_STYLES or len(own) > MAX_STYLES:
                raise JobFailed(DAMAGED)
        return styles

    def text_of(self, kind: str, style: str, value: str) -> str | int:
        """What a cell holds, as text, or the number of the shared text that it is."""
        if kind == "s":
            return int(value) if value.isdecimal() and len(value) < 10 else MAX_TEXTS
        if kind in {"inlineStr", "str"}:
            return _unescaped(value)
        if kind == "b":
            return {"1": "true", "0": "false"}.get(value.strip(), value)
        if kind in {"e", "d"}:
            return value
        return self._number(value, style)

    def _number(self, value: str, style: str) -> str:
        try:
            number = float(value)
        except ValueError:
            return value
        if not math.isfinite(number):
            return value
        if style and self._is_date and self._shows_date(style) and (text := _date(number, self._has_1904_dates)):
            return text
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)

    def _shows_date(self, style: str) -> bool:
        place = int(style) if style.isdecimal() and len(style) <= 6 else len(self._is_date)
        return place < len(self._is_date) and self._is_date[place]


class _Reading:
    """What a parser makes of cells or shared texts: the text of the one that it is in."""

    def __init__(self) -> None:
        self.parser = parser_of(self.start, self.end, self._add)
        self._pieces: list[str] = []
        self._length = 0
        self._is_open = False  # within what says something
        self._is_aloud = False  # within how it is pronounced, which says nothing more

    def start(self, element: str, attributes: dict[str, str]) -> None:
        raise NotImplementedError

    def end(self, element: str) -> None:
        raise NotImplementedError

    def begin(self) -> None:
        self._pieces, self._length = [], 0

    def _add(self, text: str) -> None:
        if self._is_open:
            self._length += len(text)
            if self._length > MAX_LINE:
                raise JobFailed(TOO_LONG)
            if len(self._pieces) > PIECES:
                self._pieces = ["".join(self._pieces)]
            self._pieces.append(text)


class _Sheet(_Reading):
    """A sheet: its rows, as they are complete, by their numbers."""

    def __init__(self, table: XlsxTable) -> None:
        super().__init__()
        self.rows: list[tuple[int, list[str | int]]] = []
        self._table = table
        self._number = 0
        self._cells: list[str | int] = []
        self._place = 0
        self._kind = self._style = ""

    def start(self, element: str, attributes: dict[str, str]) -> None:
        name = local(element)
        if name == "c":
            self._place = self._place_of(attributes.get("r", ""))
            self._kind = attributes.get("t", "n")
            self._style = attributes.get("s", "")
            self._pieces = []
        elif name in {"v", "t"}:
            self._is_open = not self._is_aloud
        elif name == "row":
            self._number = self._number_of(attributes.get("r", ""))
            self._cells, self._place = [], 0
            self.begin()  # the length is that of the whole row
        elif name == "rPh":
            self._is_aloud = True

    def end(self, element: str) -> None:
        name = local(element)
        if name == "c":
            if self._pieces:
                self._put(self._table.text_of(self._kind, self._style, "".join(self._pieces)))
        elif name in {"v", "t"}:
            self._is_open = False
        elif name == "row":
            if self._cells:
                self.rows.append((self._number, self._cells))
        elif name == "rPh":
            self._is_aloud = False

    def _put(self, text: str | int) -> None:
        place = min(self._place, MAX_COLUMNS + 1) - 1  # what lies further out is too much in any case
        missing = place - len(self._cells)
        if missing < 0:
            self._cells[place] = text
        elif text != "":
            self._cells += [""] * missing
            self._cells.append(text)

    def _place_of(self, reference: str) -> int:
        """A cell's column, counted from 1; without a reference it is the next one."""
        if not reference:
            return self._place + 1
        place = 0
        for letter in reference[:4]:
            if letter not in _COLUMN:
                break
            place = place * 26 + _COLUMN[letter]
        if not 0 < place <= MAX_PLACE:
            raise JobFailed(DAMAGED)
        return place

    def _number_of(self, reference: str) -> int:
        """A row's number, which goes up; without a reference it is the next one."""
        number = int(reference) if reference.isdecimal() and len(reference) < 10 else self._number + 1
        if not self._number < number <= MAX_ROW:
            raise JobFailed(DAMAGED)
        return number


class _Texts(_Reading):
    """The texts that cells share, by their numbers: read only as far as somebody asks, and kept on disk."""

    def __init__(self, parts: Parts, part: str) -> None:
        super().__init__()
        self._ends = array("Q")
        self._unwritten = bytearray()
        self._size = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  it goes with this object
        weakref.finalize(self, self._file.close)
        self._more = parsed(self.parser, parts.blocks(part)) if part in parts else iter(())

    def __getitem__(self, place: int) -> str:
        while place >= len(self._ends):
            if next(self._more, DONE) is DONE:
                raise JobFailed(DAMAGED)
            self._file.write(self._unwritten)
            self._file.flush()
            self._unwritten.clear()
        begin = self._ends[place - 1] if place else 0
        return os.pread(self._file.fileno(), self._ends[place] - begin, begin).decode()

    def start(self, element: str, attributes: dict[str, str]) -> None:
        name = local(element)
        if name == "si":
            self.begin()
        elif name == "t":
            self._is_open = not self._is_aloud
        elif name == "rPh":
            self._is_aloud = True

    def end(self, element: str) -> None:
        name = local(element)
        if name == "si":
            if len(self._ends) >= MAX_TEXTS:
                raise JobFailed(f"This Excel workbook shares more than {MAX_TEXTS:,} texts. Split it.")
            text = _unescaped("".join(self._pieces)).encode("utf-8", "replace")
            self._unwritten += text
            self._size += len(text)
            self._ends.append(self._size)
        elif name == "t":
            self._is_open = False
        elif name == "rPh":
            self._is_aloud = False


def _unescaped(text: str) -> str:
    """A text with what Excel writes as _x000D_ as the character that it is."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _shows_a_date(code: str) -> bool:
    """Whether a format shows a date or a time of day; how long something took is a number."""
    if _ELAPSED.search(code):
        return False
    first = _NO_FORMAT.sub("", code.partition(";")[0]).lower()
    return first != "general" and any(letter in first for letter in "ymdhs")


def _date(serial: float, has_1904_dates: bool) -> str:
    """A day's number as text; "" for one that no calendar has."""
    if not 0 <= serial < 2_958_466:  # the year 10000
        return ""
    days, seconds = divmod(round(serial * 86_400), 86_400)
    minutes, second = divmod(seconds, 60)
    time = f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
    if not days and not has_1904_dates:
        return time
    if has_1904_dates:
        start = date(1904, 1, 1)
    else:  # to Excel 1900 was a leap year
        start = date(1899, 12, 31 if days < 60 else 30)
    try:
        day = (start + timedelta(days=days)).isoformat()
    except OverflowError:
        return ""
    return f"{day}T{time}" if seconds else day
