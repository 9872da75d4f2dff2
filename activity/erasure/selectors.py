"""Who was erased."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tenants.context import current
from tenants.db.handler import release_unless_active
from tenants.models import Erasure
from tenants.refs import CONTROL

SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Erased:
    """An erasure: its first entry in the ledger, and how many more it has, as for an address."""

    entry: Erasure
    more: int


def erasures_latest() -> list[Erased]:
    """The latest erasures of the active tenant (or control). Entries that were made at once are one."""
    try:
        entries = list(Erasure.objects.filter(owner=current().id)[:SHOWN])
    finally:
        release_unless_active(CONTROL.alias)
    found = []
    for _, together in groupby(entries, key=lambda entry: (entry.erased_at, entry.erased_by)):
        first, *more = together
        found.append(Erased(first, len(more)))
    return found
