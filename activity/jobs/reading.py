"""Opening a file of rows by its format, and finding out how it is to be read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, Final, cast

from activity.jobs import csv_files
from activity.jobs.csv_files import CsvTable
from activity.jobs.errors import JobFailed, UploadRefused
from activity.jobs.ndjson_files import NdjsonTable
from activity.jobs.tables import TOO_DEEP, Format, Layout, Row, Table, Watched
from activity.jobs.xlsx_files import XlsxTable

GLANCE_TIME: Final = 5.0  # seconds of a thread's own work


def open_table(file: IO[bytes], layout: Layout, *, at_a_glance: bool = False) -> Table:
    """The file as rows; `at_a_glance` when only the first ones are wanted. Raises JobFailed for a workbook that can't be opened."""
    if layout.format == "xlsx":
        return XlsxTable(file, at_a_glance=at_a_glance)
    return NdjsonTable(file, layout) if layout.format == "ndjson" else CsvTable(file, layout)


def layout_of(
    file: IO[bytes], form: Format, encoding: str, *, known: Mapping[str, Sequence[str]], required: Sequence[str]
) -> Layout:
    """How a file of that format is to be read. `known`: each column's name with others for it. Raises UploadRefused."""
    if form == "xlsx":
        return Layout("xlsx")
    if form == "ndjson":
        return Layout("ndjson", encoding)
    with refusing():
        return csv_files.layout_of(file, encoding, known=known, required=required)


def header_of(file: IO[bytes], layout: Layout) -> tuple[str, ...]:
    """The names of the columns. Raises UploadRefused."""
    with refusing():
        return _at_a_glance(file, layout).header


def preview(file: IO[bytes], layout: Layout, *, rows: int) -> tuple[tuple[str, ...], list[Row]]:
    """The names of the columns, and the first rows, each with as many cells as there are columns. Raises UploadRefused."""
    with refusing():
        table = _at_a_glance(file, layout)
        header = table.header
        width = len(header)
        return header, [row._replace(cells=[*row.cells, *[""] * width][:width]) for row in islice(table.rows(), rows)]


def _at_a_glance(file: IO[bytes], layout: Layout) -> Table:
    """The file as rows for somebody who waits for the first ones: reading it fails when it has taken GLANCE_TIME."""
    until = time.thread_time() + GLANCE_TIME

    def check() -> None:
        if time.thread_time() > until:
            raise JobFailed(TOO_DEEP)

    return open_table(cast(IO[bytes], Watched(file, check)), layout, at_a_glance=True)


@contextmanager
def refusing() -> Iterator[None]:
    """What would fail a job is a reason not to take the file, while nothing is started yet."""
    try:
        yield
    except JobFailed as error:
        raise UploadRefused(error.message) from None
