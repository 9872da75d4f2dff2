"""A process of its own that reads workbooks: what else goes on in a test's process would be measured too."""

from __future__ import annotations

import sys
import tracemalloc

import django

django.setup()

from activity.jobs.xlsx_files import XlsxTable  # noqa: E402
from tests.jobs.test_xlsx_files import written  # noqa: E402


def peak(rows: int, *, constant_memory: bool) -> int:
    """Bytes that reading so many rows takes at most, each with two texts of its own."""
    cells = [[f"person{number}@people.example", f"Person {number}"] for number in range(rows)]
    file = written([["email", "name"], *cells], constant_memory=constant_memory)
    tracemalloc.start()
    try:
        assert sum(1 for _ in XlsxTable(file).rows()) == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    small, large = (peak(rows, constant_memory=sys.argv[1] == "cells") for rows in (2_000, 20_000))
    print(large - small)
