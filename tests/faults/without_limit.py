"""A worker's application that never sets a job aside: `celery -A tests.faults.without_limit worker`.

A control, for tests alone.
"""

from __future__ import annotations

from typing import Any

import django

from config.celery import app  # noqa: F401  what `celery -A` looks for

django.setup()

from activity.jobs import lease  # noqa: E402

patch: Any = setattr
patch(lease, "MAX_STALLS", 1_000_000)
