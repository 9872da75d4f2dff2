"""Tasks that do nothing: `celery -A tests.benchmarks.no_op_tasks worker`."""

from __future__ import annotations

import time

import django
import redis
from celery import Task
from django.conf import settings

from config.celery import app

django.setup()


@app.task(name="bench.plain", base=Task)
def plain() -> None:
    """Celery's own."""


@app.task(name="bench.entered")
def entered() -> None:
    """In its tenant, as every task of Tenantry."""


@app.task(name="bench.mark", base=Task)
def mark(*, ends: str) -> None:
    """Note the time."""
    redis.Redis.from_url(settings.CELERY_BROKER_URL).rpush(ends, repr(time.monotonic()))
