"""Reading CSV as people make it: any of four separators, quoted line ends, a header in any order, lines with nothing in them."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Final, cast

from activity.jobs.errors import JobFailed, UploadRefused

SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# After the last line: a quote that was opened and never closed swallows it, and with it shows.
_END: Final = "\ue000end of file\ue000"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read. `columns` has the place of each column that is known, counted from 0; `width` is the header's."""

    encoding: str
    separator: str
    columns: dict[str, int]
    width: int


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file. `number` is a spreadsheet's: the header is 1, and lines with nothing in them count."""

    number: int
    cells: list[str]


def layout_of(file: IO[bytes], encoding: str, *, known: Mapping[str, Sequence[str]], required: Sequence[str]) -> Layout:
    """Find out how a file is to be read, by its header. `known`: each column's name with other names for it.

    Of the separators, the one by which the header has most columns counts. Raises UploadRefused when it isn't text in this encoding, or
    when a required column is missing or is there twice.
    """
    best: Layout | None = None
    header: list[str] = []
    for separator in SEPARATORS:
        cells = _header(file, encoding, separator)
        columns = _columns(cells, known)
        if not header or len(cells) > len(header):
            header = cells
        if all(name in columns for name in required) and (best is None or len(cells) > best.width):
            best = Layout(encoding, separator, columns, len(cells))
    if best is None:
        missing = " and ".join(required)
        found = ", ".join(cell.strip()[:40] for cell in header[:12] if cell.strip()) or "nothing"
        raise UploadRefused(f"The first line must name the columns, {missing} among them. It has: {found}.")
    return best


def rows(file: IO[bytes], layout: Layout) -> Iterator[Row]:
    """The rows behind the header but for empty ones, read in constant memory. Raises JobFailed where the file can't be read on."""
    numbered = enumerate(_records(file, layout.encoding, layout.separator), start=1)
    number, last = 1, 1
    try:
        next(numbered, None)
        for number, cells in numbered:
            if cells == [_END]:
                return
            last = number
            if any(cell.strip() for cell in cells):
                if cells[-1].endswith(_END):
                    raise JobFailed(
                        f"Row {number} opens a quotation mark that is never closed. Close it, and import the file again."
                    )
                yield Row(number, cells)
    except csv.Error as error:
        raise JobFailed(f"Row {last + 1} can't be read as CSV: {error}. Is a quotation mark not closed?") from None
    except UnicodeError:
        raise JobFailed(f"Behind row {last} there are bytes that aren't {layout.encoding} text.") from None


def _records(file: IO[bytes], encoding: str, separator: str) -> Iterator[list[str]]:
    file.seek(0)
    return csv.reader(chain(_lines(file, encoding), [_END]), delimiter=separator)


def _lines(file: IO[bytes], encoding: str) -> Iterator[str]:
    """The lines with their ends as they are. The last one ends too, so that what comes behind it is another one."""
    text = io.TextIOWrapper(cast(Any, file), encoding=encoding, newline="")
    try:
        for line in text:
            yield line if line.endswith(("\n", "\r")) else f"{line}\n"
    finally:
        with contextlib.suppress(ValueError):  # the file was closed first
            text.detach()  # or the file would be closed with its wrapper


def _header(file: IO[bytes], encoding: str, separator: str) -> list[str]:
    try:
        cells = next(_records(file, encoding, separator), [])
    except csv.Error:
        return []
    except UnicodeError:
        raise UploadRefused(f"The file isn't {encoding} text. Save it as CSV in UTF-8, and send that.") from None
    if cells == [_END]:
        return []
    if cells and cells[-1].endswith(_END):
        raise UploadRefused("The first line opens a quotation mark that is never closed.")
    return cells


def _columns(header: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, int]:
    names = {_plain(other): name for name, others in known.items() for other in (name, *others)}
    columns: dict[str, int] = {}
    for place, cell in enumerate(header):
        name = names.get(_plain(cell))
        if name in columns:
            raise UploadRefused(f"The column {cell.strip()} is there twice; leave one of them out.")
        if name is not None:
            columns[name] = place
    return columns


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
