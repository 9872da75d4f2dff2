"""Reading CSV as people make it: any of four separators, quoted line ends, a header in any order, lines with nothing in them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import IO, Final

from activity.jobs.errors import JobFailed, UploadRefused
from activity.jobs.tables import MAX_LINE, Layout, Row, checked_header, lines, places_of

SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# After the last line: a quote that was opened and never closed swallows it, and with it shows.
_END: Final = "\ue000end of file\ue000"


class CsvTable:
    """A CSV file. Its first line names the columns; rows are numbered as a spreadsheet does it, that line being 1."""

    def __init__(self, file: IO[bytes], layout: Layout) -> None:
        self._file = file
        self._layout = layout

    @property
    def header(self) -> tuple[str, ...]:
        return checked_header(_header(self._file, self._layout))

    def rows(self) -> Iterator[Row]:
        numbered = enumerate(_records(self._file, self._layout), start=1)
        number, last = 1, 1
        try:
            next(numbered, None)
            for number, cells in numbered:
                if not cells:
                    continue
                last = number
                if cells[0].strip() or any(cell.strip() for cell in cells):
                    if cells[-1].endswith(_END):
                        if cells == [_END]:
                            return
                        raise JobFailed(
                            f"Row {number} opens a quotation mark that is never closed. Close it, and import the file again."
                        )
                    yield Row(number, cells)
        except csv.Error as error:
            raise JobFailed(f"Row {last + 1} can't be read as CSV: {error}. Is a quotation mark not closed?") from None
        except UnicodeError:
            raise JobFailed(f"Behind row {last} there are bytes that aren't {self._layout.encoding} text.") from None


def layout_of(file: IO[bytes], encoding: str, *, known: Mapping[str, Sequence[str]], required: Sequence[str]) -> Layout:
    """Find out a file's separator by its header. `known`: each column's name with other names for it.

    Of the separators that give the required columns, else of all, the one by which the header has most columns counts.
    Raises UploadRefused when it isn't text in this encoding.
    """
    best, most = Layout("csv", encoding, ","), (False, 0)
    for separator in SEPARATORS:
        layout = Layout("csv", encoding, separator)
        header = _header(file, layout)
        places = places_of(header, known)
        has = (all(name in places for name in required), len(header))
        if has > most:
            best, most = layout, has
    return best


def _header(file: IO[bytes], layout: Layout) -> list[str]:
    try:
        cells = next(_records(file, layout), [])
    except csv.Error:
        return []
    except UnicodeError:
        raise UploadRefused(f"The file isn't {layout.encoding} text. Save it as CSV in UTF-8, and send that.") from None
    if cells == [_END]:
        return []
    if cells and cells[-1].endswith(_END):
        raise UploadRefused("The first line opens a quotation mark that is never closed.")
    return cells


def _records(file: IO[bytes], layout: Layout) -> Iterator[list[str]]:
    length = 0

    def lines_of_record() -> Iterator[str]:
        nonlocal length
        for line in chain(lines(file, layout.encoding), [_END]):
            length += len(line)
            if length > MAX_LINE:  # of many lines by quoted line ends, and held in memory as a whole
                raise csv.Error(f"it has more than {MAX_LINE:,} characters")
            yield line

    for cells in csv.reader(lines_of_record(), delimiter=layout.separator):
        yield cells
        length = 0
