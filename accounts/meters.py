"""What accounts measures of a tenant's usage: its members."""

from __future__ import annotations

from datetime import date
from typing import Any

from activity.usage.meters import meter


@meter("members", title="Members")
def members(cursor: Any, day: date) -> int:
    """Whoever is in the list, deactivated ones too."""
    cursor.execute("SELECT count(*) FROM accounts_user")
    return int(cursor.fetchone()[0])
