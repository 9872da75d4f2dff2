"""A worker's application whose jobs forget where they were: `celery -A tests.faults.without_checkpoint worker`.

A control, for tests alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import django

from config.celery import app  # noqa: F401  what `celery -A` looks for

django.setup()

from activity.jobs import lease  # noqa: E402
from activity.jobs.models import Job  # noqa: E402

_checkpoint = lease.checkpoint


def _forgetful(job: Job, *, done: int, total: int | None, counts: Mapping[str, int], saved: Mapping[str, Any]) -> None:
    _checkpoint(job, done=done, total=total, counts=counts, saved={})


patch: Any = setattr
patch(lease, "checkpoint", _forgetful)
