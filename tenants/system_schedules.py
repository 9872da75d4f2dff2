"""Which of the system's own schedules have been sent: a row in control for each, claimed by conditional update.

The row's moment is the sender's, and means that whatever was due until then is done. So two beats whose clocks differ agree on what is due
at a time of day, and a moment that is yet to come was a clock's mistake. A beat that is killed between its claim and its message, or
finds the broker away, loses that one run: upkeep, which the next one does too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from tenants import context
from tenants.models import SystemSchedule

AHEAD: Final = timedelta(minutes=10)  # by which clocks of machines may differ


def claim(name: str, *, now: datetime, is_due: Callable[[datetime], bool]) -> bool:
    """Take a schedule if it `is_due` after its last sending; whether the caller is to send it. Raises django.db.DatabaseError."""
    with context.use_control():
        row, is_first = SystemSchedule.objects.get_or_create(name=name, defaults={"sent_at": now})
        if is_first or not (is_due(row.sent_at) or row.sent_at > now + AHEAD):
            return is_first
        return bool(SystemSchedule.objects.filter(pk=name, sent_at=row.sent_at).update(sent_at=now))
