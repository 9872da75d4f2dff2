"""What the active tenant takes of disks: its database, and the files in its folder of the storage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.files.storage import default_storage


def database_bytes(cursor: Any) -> int:
    """The size of the cursor's database as Postgres tells it, of everything that belongs to it; an empty one has some 8 MB."""
    cursor.execute("SELECT pg_database_size(current_database())")
    return int(cursor.fetchone()[0])


def file_bytes() -> int:
    """The sizes of all the active tenant's files, added up. One look at each file: a tenant has as many as jobs, of 30 days."""
    return sum(map(_size, file_names()))


def file_names(folder: str = "") -> Iterator[str]:
    """The names of the active tenant's files in the folder and below it, in order."""
    try:
        folders, names = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    prefix = f"{folder}/" if folder else ""
    yield from (f"{prefix}{name}" for name in sorted(names))
    for below in sorted(folders):
        yield from file_names(f"{prefix}{below}")


def _size(name: str) -> int:
    try:
        return default_storage.size(name)
    except FileNotFoundError:  # removed in the meantime
        return 0
