"""Celery's workers: how this process is called among them, and which of them answer."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import structlog
from celery import Task, current_app
from celery._state import get_current_task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

ANSWER: Final = 1.0  # seconds that workers have to answer: whoever asks waits for all of it


@dataclass(frozen=True, slots=True)
class Worker:
    """One that answers: its processes, and how many tasks it has run since it started."""

    name: str
    processes: int
    tasks: int


def name() -> str:
    """The worker's name and this process's id, as the summary of a job has them; empty outside of a worker."""
    task: Task[Any, Any] | None = get_current_task()
    hostname = None if task is None else task.request.hostname
    return f"{hostname} {os.getpid()}" if hostname else ""


def answering() -> list[Worker] | None:
    """The workers that answer within ANSWER seconds, by name; None while they can't be asked, since the broker is away."""
    try:
        with current_app.connection_for_read() as connection:
            found = current_app.control.inspect(timeout=ANSWER, connection=connection).stats() or {}
    except (OperationalError, RedisError, OSError) as error:
        log.warning("workers_not_asked", error=type(error).__name__)
        return None
    return [
        Worker(worker, int(facts["pool"].get("max-concurrency", 1)), Counter(facts["total"]).total())
        for worker, facts in sorted(found.items())
    ]
