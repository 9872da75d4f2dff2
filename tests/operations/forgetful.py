"""A worker that keeps neither tenant nor connections behind a task: `celery -A tests.operations.forgetful worker`. A control."""

from __future__ import annotations

from typing import Any

import django
from celery import signals

from config.celery import app  # noqa: F401  what `celery -A` looks for

django.setup()

from tenants import hints, task  # noqa: E402
from tenants.db import pools  # noqa: E402

patch: Any = setattr
patch(task, "_headers_of_sender", hints.headers_of_caller)


@signals.task_postrun.connect
def _close(**_: Any) -> None:
    """As Celery does with Django's own pools."""
    for pool in pools.all_pools():
        pool.drop_idle()
