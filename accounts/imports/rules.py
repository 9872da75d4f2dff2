"""What a row must be, to be taken: the same for every format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from accounts.errors import InvalidField
from accounts.roles import Role
from accounts.validation import MAX_EMAIL, clean_email, clean_name
from activity.jobs.tables import Row
from activity.spreadsheets import unguarded

Values = tuple[str, str | None, str | None]
Problem = tuple[str, str, str]  # column, what it holds, and the reason

MAX_NAME: Final = 200
# Most addresses: what this takes, the rule of all addresses takes too (a test says so), and it is faster by far.
_USUAL_EMAIL: Final = re.compile(
    r"[A-Za-z0-9]+(?:[._+-][A-Za-z0-9]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
_ROLES: Final = {role.value for role in Role}


class Rules:
    """The rules for the rows of one file, in which `columns` has the place of each column that counts, and `width` is the header's."""

    def __init__(self, columns: Mapping[str, int], width: int, *, separator: str = "") -> None:
        self._email = columns["email"]
        self._name = columns.get("name", -1)
        self._role = columns.get("role", -1)
        self._width = width
        self._separator = separator or ", "

    def values(self, row: Row) -> Values | None:
        """The address, name and role of a good row, None for a cell that is empty; None for a row that isn't good."""
        cells = row.cells
        if row.fault or (len(cells) > self._width and self._extra(row)):
            return None
        email, name, role = _cell(cells, self._email), _cell(cells, self._name), _cell(cells, self._role)
        if not (len(email) <= MAX_EMAIL and _USUAL_EMAIL.fullmatch(email)) and not _passes(clean_email, email):
            return None
        if name and not (name.isprintable() and len(name) <= MAX_NAME) and not _passes(clean_name, name):
            return None
        if role and role not in _ROLES and (role := role.lower()) not in _ROLES:
            return None
        return email, name or None, role or None

    def problems(self, row: Row) -> Iterator[Problem]:
        """Why a row can't be taken, for each column that is at fault."""
        if row.fault:
            yield "", self._separator.join(row.cells), row.fault
            return
        if extra := self._extra(row):
            yield "", self._separator.join(extra), "This row has more cells than the first line has columns."
        email, name, role = (_cell(row.cells, place) for place in (self._email, self._name, self._role))
        for column, value, clean in (("email", email, clean_email), ("name", name, clean_name)):
            try:
                clean(value)
            except InvalidField as error:
                yield column, value, error.message
        if role and role.lower() not in _ROLES:
            yield "role", role, "Use admin, member or viewer, or leave it empty."

    def _extra(self, row: Row) -> list[str]:
        return [cell for cell in row.cells[self._width :] if cell.strip()]


def _cell(cells: list[str], place: int) -> str:
    if not 0 <= place < len(cells):
        return ""
    cell = cells[place].strip()
    return unguarded(cell).strip() if cell[:1] == "'" else cell


def _passes(clean: Callable[[str], str], value: str) -> bool:
    try:
        clean(value)
    except InvalidField:
        return False
    return True
