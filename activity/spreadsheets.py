"""Cells that a spreadsheet would run as a formula get a leading apostrophe on their way out, which an import takes off again.

A cell that begins with apostrophes before such a character gets one more, so that what was exported and imported is what it was. OWASP,
"CSV injection", names the characters.
"""

from __future__ import annotations

import re
from typing import Final

_RUNS: Final = re.compile(r"'+[=+\-@\t\r]")
# With an apostrophe or none: what goes out with one more.
_RUNS_OR_IS_GUARDED: Final = re.compile(r"'*[=+\-@\t\r]")
# The same for Postgres.
_RUNS_OR_GUARDED: Final = r"^''*[=+@\t\r-]"


def guarded(column: str) -> str:
    """SQL for a text column as a cell that no spreadsheet runs."""
    return f"CASE WHEN {column} ~ E'{_RUNS_OR_GUARDED}' THEN '''' || {column} ELSE {column} END"


def guarded_cell(cell: str) -> str:
    """A cell that no spreadsheet runs."""
    return f"'{cell}" if _RUNS_OR_IS_GUARDED.match(cell) else cell


def unguarded(cell: str) -> str:
    """A cell as it was before it was guarded."""
    return cell[1:] if cell.startswith("'") and _RUNS.match(cell) else cell
