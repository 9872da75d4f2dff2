"""Rows as an XLSX file, written in constant memory: each row goes to disk when the next one begins."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Final, Self

import xlsxwriter

SHEET_ROWS: Final = 1_048_576  # what a sheet holds, its header among them; behind that another sheet goes on
CELL_LETTERS: Final = 32_767  # what a cell holds


class Workbook:
    """A workbook that is written row by row into `file`: a context manager, complete when its block ends.

    Text is written as text, whatever it begins with, so that no cell is a formula or a link. Further sheets are called `title 2` and so on.
    """

    def __init__(self, file: IO[bytes], *, title: str, columns: Sequence[str], sheet_rows: int = SHEET_ROWS) -> None:
        self._book = xlsxwriter.Workbook(file, {"constant_memory": True})
        self._book.use_zip64()
        self._title = title
        self._columns = columns
        self._sheet_rows = sheet_rows
        self._sheets = 0
        self._sheet: Any = None
        self._next = sheet_rows
        self._begin_sheet()

    def write(self, cells: Sequence[Any]) -> None:
        """Add a row. None is an empty cell; what is neither a number nor a truth value is written as text, cut to what a cell holds."""
        if self._next == self._sheet_rows:
            self._begin_sheet()
        for column, cell in enumerate(cells):
            if cell is None:
                continue
            if isinstance(cell, bool):
                self._sheet.write_boolean(self._next, column, cell)
            elif isinstance(cell, int | float):
                self._sheet.write_number(self._next, column, cell)
            else:
                self._sheet.write_string(self._next, column, str(cell)[:CELL_LETTERS])
        self._next += 1

    def _begin_sheet(self) -> None:
        self._sheets += 1
        name = self._title if self._sheets == 1 else f"{self._title} {self._sheets}"
        self._sheet = self._book.add_worksheet(name)
        self._sheet.freeze_panes(1, 0)
        for column, heading in enumerate(self._columns):
            self._sheet.write_string(0, column, heading)
        self._next = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._book.close()
        else:  # nobody wants what was written by then: leave out the packing, which could take minutes
            for sheet in self._book.worksheets():
                sheet.row_data_fh.close()
            self._book.fileclosed = 1
