"""Workbooks to be imported."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any

import xlsxwriter


def written(rows: Sequence[Sequence[Any]], *, constant_memory: bool = False, **options: Any) -> io.BytesIO:
    """A workbook as a library writes it; with constant memory its texts are in their cells, else shared."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"constant_memory": constant_memory, **options})
    sheet = book.add_worksheet()
    formats = {
        datetime: book.add_format({"num_format": "d mmm yyyy hh:mm"}),
        date: book.add_format({"num_format": "dd/mm/yyyy"}),
        time: book.add_format({"num_format": "hh:mm:ss"}),
    }
    for number, cells in enumerate(rows):
        for place, cell in enumerate(cells):
            if type(cell) in formats:
                sheet.write_datetime(number, place, cell, formats[type(cell)])
            elif cell is not None:
                sheet.write(number, place, cell)
    book.close()
    file.seek(0)
    return file
