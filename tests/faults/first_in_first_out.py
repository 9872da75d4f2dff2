"""A worker's application without turns: `celery -A tests.faults.first_in_first_out worker`. A control, for tests alone.

Whose job it is doesn't count: the one that has waited longest is next.
"""

from __future__ import annotations

from typing import Any

import django

from config.celery import app  # noqa: F401  what `celery -A` looks for

django.setup()

from django.db import connections  # noqa: E402

from activity.jobs import turns  # noqa: E402
from activity.jobs.turns import Taken  # noqa: E402
from tenants.refs import CONTROL  # noqa: E402

_OLDEST = """
UPDATE tenants_jobsummary SET state = 'running', due_at = statement_timestamp() + interval '10 seconds'
WHERE id = (
    SELECT id FROM tenants_jobsummary WHERE state = 'queued' AND due_at <= statement_timestamp()
    ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, tenant_id
"""


def _take() -> Taken | None:
    with connections[CONTROL.alias].cursor() as cursor:
        cursor.execute(_OLDEST)
        row = cursor.fetchone()
    return None if row is None else Taken(row[0], turns.owner_of(row[1]))


patch: Any = setattr
patch(turns, "take", _take)
