"""Reading NDJSON: an object a line, whose keys are the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import IO, Any, Final

import orjson

from activity.jobs.errors import JobFailed, UploadRefused
from activity.jobs.tables import MAX_COLUMNS, Layout, Row, checked_header, lines

# The columns are the keys of so many lines; a key that comes later isn't known, and its line is refused.
SAMPLE: Final = 1_000

NO_OBJECT: Final = "This line isn't a JSON object."
TOO_DEEP: Final = "A value of this line holds others, one within the other, too deep to be written."
LATE_KEY: Final = f"None of the first {SAMPLE:,} lines has this key. Move this line further up."


class NdjsonTable:
    """An NDJSON file. Rows are numbered as the lines are.

    A value is the text of a cell: null is empty, numbers and truth values are written as JSON writes them, and so is what is nested.
    """

    def __init__(self, file: IO[bytes], layout: Layout) -> None:
        self._file = file
        self._encoding = layout.encoding

    @cached_property
    def header(self) -> tuple[str, ...]:
        keys: dict[str, None] = {}
        try:
            for line in islice(lines(self._file, self._encoding), SAMPLE):
                keys.update(dict.fromkeys(_object(line) or ()))
                if len(keys) > MAX_COLUMNS:
                    break
        except UnicodeError:
            raise UploadRefused(f"The file isn't {self._encoding} text. NDJSON is written in UTF-8.") from None
        return checked_header(list(keys))

    def rows(self) -> Iterator[Row]:
        header = self.header
        known = set(header)
        number = 0
        try:
            for number, line in enumerate(lines(self._file, self._encoding), start=1):
                found = _object(line)
                if found is None:
                    if text := line.strip().removeprefix("\ufeff"):
                        yield Row(number, [text], NO_OBJECT)
                elif row := _row(number, found, header, known):
                    yield row
        except UnicodeError:
            raise JobFailed(f"Behind line {number} there are bytes that aren't {self._encoding} text.") from None


def is_object(line: bytes | str) -> bool:
    """Whether a line is a JSON object."""
    return _object(line) is not None


def _row(number: int, found: dict[str, Any], header: Sequence[str], known: set[str]) -> Row | None:
    """The row that an object is; None for one in which nothing is said."""
    try:
        if late := [key for key in found if key not in known and _text(found[key]).strip()]:
            return Row(number, late[:1], LATE_KEY)
        cells = [_text(found.get(key)) for key in header]
    except orjson.JSONEncodeError:  # what was read goes deeper than what can be written
        return Row(number, [], TOO_DEEP)
    return Row(number, cells) if any(cell.strip() for cell in cells) else None


def _object(line: bytes | str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
