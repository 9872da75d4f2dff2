"""The parts of a tenant's archive: one table of name to what writes it. An app registers its own in its module `jobs`.

@archive_part("invoices")
def invoices() -> Iterator[Entry]:
    yield ndjson("invoices.ndjson", Invoice.objects.order_by("id").values("id", "number", "total"))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.db.models import QuerySet

ROWS: Final = 500  # that are written at once
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")

WritePart = Callable[[], Iterable["Entry"]]
_parts: dict[str, WritePart] = {}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive: its name below the part's folder, and its content in blocks, made while they are asked for.

    The manifest counts the lines of names that end in `.ndjson` as rows.
    """

    name: str
    blocks: Iterable[bytes]


def archive_part(name: str) -> Callable[[WritePart], WritePart]:
    """Register the decorated function as what writes the part `name`, a folder of the archive.

    It is called with the tenant active, outside of a transaction, and reads from a replica where that will do. It leaves out secrets.
    Raises ValueError for a name that isn't a word in small letters, or is another part's.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a part: use small letters, digits and _.")

    def register(write: WritePart) -> WritePart:
        if name in _parts and _parts[name] is not write:
            raise ValueError(f"The archive has a part {name} already.")
        _parts[name] = write
        return write

    return register


def all_parts() -> list[tuple[str, WritePart]]:
    """Every part with its name, by name."""
    return sorted(_parts.items())


def ndjson(name: str, values: QuerySet[Any, dict[str, Any]]) -> Entry:
    """An entry with one JSON object a line, from a queryset of `values()`: name its fields, so that no secret slips in."""
    return Entry(name, _lines(values))


def _lines(values: QuerySet[Any, dict[str, Any]]) -> Iterator[bytes]:
    block: list[bytes] = []
    for row in values.iterator(chunk_size=ROWS):
        block.append(orjson.dumps(row, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        if len(block) == ROWS:
            yield b"".join(block)
            block = []
    yield b"".join(block)
