"""Which column of a file is which: found by its name, or said by whoever sends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from accounts.errors import InvalidField
from activity.jobs.errors import UploadRefused
from activity.jobs.tables import Layout, names_of, places_of, plain

# Columns that count, and what else people call them. Others are let be.
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "email": ("e-mail address", "mail"),
    "name": ("full name", "display name"),
    "role": (),
}
REQUIRED: Final = ("email",)


def found_columns(header: Sequence[str], layout: Layout) -> dict[str, int]:
    """The columns by their names. Raises UploadRefused when a required one is missing, or one is there twice."""
    places = places_of(header, COLUMNS)
    if any(name not in places for name in REQUIRED):
        raise nothing_found(header, layout)
    for several in places.values():
        if len(several) > 1:
            raise UploadRefused(f"The column {header[several[-1]].strip()} is there twice; leave one of them out.")
    return {name: several[0] for name, several in places.items()}


def proposed_columns(header: Sequence[str]) -> dict[str, int]:
    """What the columns most probably are, for somebody to look at."""
    return {name: several[0] for name, several in places_of(header, COLUMNS).items()}


def said_columns(said: Iterable[str], header: Sequence[str]) -> dict[str, int]:
    """The columns by what was said of them, as `email:Work e-mail`. Raises InvalidField for the field `map`."""
    columns: dict[str, int] = {}
    for one in said:
        name, colon, called = one.partition(":")
        name = name.strip()
        if not colon or name not in COLUMNS:
            raise InvalidField("map", f"Write email:, name: or role: and what the file calls it, not {one[:60]!r}.")
        if name in columns:
            raise InvalidField("map", f"{name} is said twice.")
        columns[name] = _place(called, header)
    return checked_columns(columns, len(header), field="map")


def checked_columns(columns: Mapping[str, int], width: int, *, field: str) -> dict[str, int]:
    """The columns, if they are among the file's `width`, each is one thing, and none that is required is missing. Raises InvalidField."""
    if any(name not in columns for name in REQUIRED):
        raise InvalidField(field, "Say which column holds the e-mail address.")
    if len(set(columns.values())) < len(columns):
        raise InvalidField(field, "One column can't be two things.")
    if not all(name in COLUMNS and 0 <= place < width for name, place in columns.items()):
        raise InvalidField(field, "The file has no such column.")
    return dict(columns)


def nothing_found(header: Sequence[str], layout: Layout) -> UploadRefused:
    """The refusal of a file without columns that anything could be made of."""
    missing = " and ".join(REQUIRED)
    if layout.format == "ndjson":
        return UploadRefused(f"Each line must be an object with the key {missing}. There is: {names_of(header)}.")
    return UploadRefused(f"The first line must name the columns, {missing} among them. It has: {names_of(header)}.")


def _place(called: str, header: Sequence[str]) -> int:
    """The column of that name: as it is written, else but for capitals and blanks."""
    exact = [place for place, name in enumerate(header) if name == called]
    near = exact or [place for place, name in enumerate(header) if plain(called) and plain(name) == plain(called)]
    if len(near) == 1:
        return near[0]
    if near:
        raise InvalidField("map", f"The column {called[:60]} is there twice; leave one of them out.")
    raise InvalidField("map", f"The file has no column {called[:60]!r}. It has: {names_of(header)}.")
