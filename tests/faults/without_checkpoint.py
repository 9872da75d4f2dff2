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


def _forgetful(job: Job, *, saved: Mapping[str, Any], **progress: Any) -> None:
    _checkpoint(job, saved={}, **progress)


patch: Any = setattr
patch(lease, "checkpoint", _forgetful)
