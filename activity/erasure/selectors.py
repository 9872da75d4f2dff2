"""Who was erased."""

from __future__ import annotations

from typing import Final

from tenants.context import current
from tenants.db.handler import release_unless_active
from tenants.models import Erasure
from tenants.refs import CONTROL

SHOWN: Final = 50


def erasures_latest() -> list[Erasure]:
    """The latest entries of the active tenant's (or control's) ledger."""
    try:
        return list(Erasure.objects.filter(owner=current().id)[:SHOWN])
    finally:
        release_unless_active(CONTROL.alias)
