"""A worker whose tasks take their tenant with them: `celery -A tests.operations.without_following worker`. A control, for tests alone."""

from __future__ import annotations

from typing import Any

import django

from config.celery import app  # noqa: F401  what `celery -A` looks for

django.setup()

from tenants import hints, task  # noqa: E402

patch: Any = setattr
patch(task, "_headers_of_sender", hints.headers_of_caller)
