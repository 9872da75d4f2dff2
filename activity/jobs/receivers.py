"""What jobs do when a worker of Celery starts and stops."""

from __future__ import annotations

from typing import Any

from celery import signals

from activity.jobs import shutdown, slots


@signals.worker_init.connect
def worker_starts(sender: Any = None, **_: Any) -> None:
    """Before the pool is forked: lay out what its processes share."""
    shutdown.withdraw()
    slots.limit(int(getattr(sender, "concurrency", None) or 1))


@signals.worker_shutting_down.connect
def worker_stops(**_: Any) -> None:
    """SIGTERM: jobs go back at their next step, and whoever runs next goes on with them."""
    shutdown.ask()
