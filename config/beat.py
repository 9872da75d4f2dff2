"""Celery's scheduler, with a claim in control: what is due runs once, whatever number of beats runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from celery.beat import PersistentScheduler
from celery.schedules import crontab
from django.db import DatabaseError

from tenants import system_schedules

log = structlog.get_logger(__name__)

# What comes more often is a sweep. A second one does nothing twice: it finds taken what the first one took.
SHORTEST: Final = timedelta(minutes=1)
# Of an interval: by so much the next sending may come too soon, since beats measure from their own last one.
EARLY: Final = 0.1


class Scheduler(PersistentScheduler):
    """settings.CELERY_BEAT_SCHEDULER."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send a task that is due, unless another beat has. While control is away it isn't sent: it could do nothing there."""
        if is_sweep(entry.schedule):
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        now: datetime = entry.schedule.now()
        try:
            is_mine = system_schedules.claim(
                entry.name, now=now, is_due=lambda sent: is_due_after(entry.schedule, sent)
            )
        except DatabaseError as error:
            log.warning("schedule_skipped", schedule=entry.name, error=type(error).__name__)
            return None
        if not is_mine:
            log.debug("schedule_taken", schedule=entry.name)
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **kwargs)


def is_sweep(schedule: Any) -> bool:
    """Whether it comes more often than what is claimed."""
    return not isinstance(schedule, crontab) and schedule.run_every < SHORTEST


def is_due_after(schedule: Any, sent: datetime) -> bool:
    """Whether it has become due since it was sent. A time of day is exact; an interval may be early by EARLY."""
    if not isinstance(schedule, crontab):
        sent -= schedule.run_every * EARLY
    return bool(schedule.is_due(sent).is_due)
