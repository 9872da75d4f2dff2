"""Opening a file of rows by its format, and finding out how it is to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO

from activity.jobs import csv_files
from activity.jobs.csv_files import CsvTable
from activity.jobs.errors import JobFailed, UploadRefused
from activity.jobs.ndjson_files import NdjsonTable
from activity.jobs.tables import Format, Layout, Row, Table
from activity.jobs.xlsx_files import XlsxTable


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
        return open_table(file, layout, at_a_glance=True).header


def preview(file: IO[bytes], layout: Layout, *, rows: int) -> tuple[tuple[str, ...], list[Row]]:
    """The names of the columns, and the first rows. Raises UploadRefused."""
    with refusing():
        table = open_table(file, layout, at_a_glance=True)
        return table.header, list(islice(table.rows(), rows))


@contextmanager
def refusing() -> Iterator[None]:
    """What would fail a job is a reason not to take the file, while nothing is started yet."""
    try:
        yield
    except JobFailed as error:
        raise UploadRefused(error.message) from None
