"""A file of rows, whatever its format: how it is to be read, what a row of it is, and which of its columns is which."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, Literal, NamedTuple, Protocol, cast

from activity.jobs.errors import JobFailed, UploadRefused

Format = Literal["csv", "ndjson", "xlsx"]
# What people call formats of files: those that are read, and Parquet, which is written alone.
TITLES: Final = {"csv": "CSV", "xlsx": "Excel (XLSX)", "ndjson": "NDJSON", "parquet": "Parquet"}

TOO_DEEP: Final = (
    "The first rows of this file lie behind too much else. Copy what is needed into a new one, and send that."
)
MAX_COLUMNS: Final = 500
MAX_LINE: Final = 1024 * 1024  # bytes or characters of a line or a cell, which is held in memory


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read. `encoding` and `separator` are empty in formats that have none."""

    format: Format
    encoding: str = ""
    separator: str = ""


class Row(NamedTuple):
    """A row of a file, with a number by which people find it: a spreadsheet's (lines with nothing in them count), or a line's.

    `fault` says why it can't be taken whatever its cells are; then `cells` has what is at fault.
    """

    number: int
    cells: list[str]
    fault: str = ""


class Watched(io.RawIOBase):
    """A file of which much may have to be read before there is a row: `check` is called for each block, and may raise."""

    def __init__(self, file: IO[bytes], check: Callable[[], None]) -> None:
        self._file = file
        self._check = check

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        self._check()
        return self._file.read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        self._check()
        return self._file.readline(-1 if size is None else size)

    def readinto(self, buffer: Any, /) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


class Table(Protocol):
    """A file that is read as rows, in constant memory."""

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the columns. Raises UploadRefused, or JobFailed, where the file can't be read."""

    def rows(self) -> Iterator[Row]:
        """The rows behind the header but for empty ones, from the first one on. Raises JobFailed where the file can't be read on."""


def places_of(header: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """The columns, counted from 0, that have each name that is known, or another name for it, however it is written."""
    names = {plain(other): name for name, others in known.items() for other in (name, *others)}
    places: dict[str, list[int]] = {}
    for place, cell in enumerate(header):
        name = names.get(plain(cell))
        if name is not None:
            places.setdefault(name, []).append(place)
    return places


def plain(name: str) -> str:
    """A column's name without what people write now this way, now that: capitals, blanks, hyphens."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def names_of(header: Sequence[str]) -> str:
    """The names of the columns as a sentence shows them."""
    return ", ".join(name.strip()[:40] for name in header[:12] if name.strip()) or "nothing"


def checked_header(header: Sequence[str]) -> tuple[str, ...]:
    """The header, if it isn't too wide. Raises UploadRefused."""
    if len(header) > MAX_COLUMNS:
        raise UploadRefused(f"The file has more than {MAX_COLUMNS} columns. Leave out those that aren't needed.")
    return tuple(header)


def lines(file: IO[bytes], encoding: str) -> Iterator[str]:
    """The lines of a text from its beginning, with their ends as they are. Raises UnicodeError, and JobFailed for one beyond MAX_LINE."""
    file.seek(0)
    text = io.TextIOWrapper(cast(Any, file), encoding=encoding, newline="")
    try:
        while line := text.readline(MAX_LINE + 1):  # not from `text`, which would be closed with this generator
            if len(line) > MAX_LINE:
                raise JobFailed(
                    f"The file has a line of more than {MAX_LINE:,} characters. A row has a line of its own."
                )
            yield line
    finally:
        with contextlib.suppress(ValueError):  # the file was closed first
            text.detach()  # or the file would be closed with its wrapper
