"""Which of the system's own schedules have been sent: a row in control for each, claimed by conditional update.

The row's moment is the sender's, and means that whatever was due until then is done. So two beats whose clocks differ agree on what is due
at a time of day, and a moment that is yet to come was a clock's mistake. A beat that finds the broker away gives its claim back, and one
that is killed between its claim and its message loses that one run: upkeep, which the next one does too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from tenants import context
from tenants.models import SystemSchedule

AHEAD: Final = timedelta(minutes=10)  # by which clocks of machines may differ
NEVER: Final = datetime.fromtimestamp(0, UTC)


@contextmanager
def claimed(name: str, *, now: datetime, is_due: Callable[[datetime], bool]) -> Iterator[bool]:
    """Take a schedule if it `is_due` after its last sending; whether the caller is to send it. What raises in the block gives it back.

    Raises django.db.DatabaseError when control can't be asked.
    """
    with context.use_control():
        row, is_first = SystemSchedule.objects.get_or_create(name=name, defaults={"sent_at": now})
        is_mine = is_first
        if not is_first and (is_due(row.sent_at) or row.sent_at > now + AHEAD):
            is_mine = bool(SystemSchedule.objects.filter(pk=name, sent_at=row.sent_at).update(sent_at=now))
    try:
        yield is_mine
    except BaseException:
        if is_mine:
            with context.use_control():
                former = NEVER if is_first else row.sent_at
                SystemSchedule.objects.filter(pk=name, sent_at=now).update(sent_at=former)
        raise


def sent_at() -> dict[str, datetime]:
    """When each was sent last, of those that a beat has come to. Raises django.db.DatabaseError."""
    with context.use_control():
        return dict(SystemSchedule.objects.values_list("name", "sent_at"))
