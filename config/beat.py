"""Celery's scheduler, with a claim in control: what is due runs once, whatever number of beats runs.

What has a time of day and wasn't sent then, since the broker or control was away, is sent once they are back.
"""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from celery.beat import PersistentScheduler, SchedulingError
from celery.schedules import crontab
from django.db import DatabaseError

from tenants import system_schedules

log = structlog.get_logger(__name__)

# What comes more often is a sweep. A second one does nothing twice: it finds taken what the first one took.
SHORTEST: Final = timedelta(minutes=1)
# Of an interval: by so much the next sending may come too soon, since beats measure from their own last one.
EARLY: Final = 0.1
CATCH_UP_EVERY: Final = 30.0  # seconds


class Scheduler(PersistentScheduler):
    """settings.CELERY_BEAT_SCHEDULER."""

    _caught_up_at = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, and now and then what wasn't sent in its time; the seconds until the next call."""
        if time.monotonic() - self._caught_up_at >= CATCH_UP_EVERY:
            self._caught_up_at = time.monotonic()
            with contextlib.suppress(SchedulingError):  # the broker is away still
                for entry in self._missed():
                    self.apply_async(entry, producer=self.producer, advance=False)
        delay: float = super().tick(*args, **kwargs)
        return delay

    def _missed(self) -> list[Any]:
        """What has a time of day, and no beat has sent since. An interval comes again soon."""
        try:
            sent_at = system_schedules.sent_at()
        except DatabaseError:
            return []
        daily = [entry for entry in self.schedule.values() if isinstance(entry.schedule, crontab)]
        return [entry for entry in daily if entry.name in sent_at and is_due_after(entry.schedule, sent_at[entry.name])]

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send a task that is due, unless another beat has. While control is away it isn't sent: it could do nothing there."""
        if is_sweep(entry.schedule):
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        now: datetime = entry.schedule.now()
        try:
            with system_schedules.claimed(
                entry.name, now=now, is_due=lambda sent: is_due_after(entry.schedule, sent)
            ) as is_mine:
                if is_mine:
                    return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        except DatabaseError as error:
            log.warning("schedule_skipped", schedule=entry.name, error=type(error).__name__)
        else:
            log.debug("schedule_taken", schedule=entry.name)
        return None


def is_sweep(schedule: Any) -> bool:
    """Whether it comes more often than what is claimed."""
    return not isinstance(schedule, crontab) and schedule.run_every < SHORTEST


def is_due_after(schedule: Any, sent: datetime) -> bool:
    """Whether it has become due since it was sent. A time of day is exact; an interval may be early by EARLY."""
    if not isinstance(schedule, crontab):
        sent -= schedule.run_every * EARLY
    return bool(schedule.is_due(sent).is_due)
