"""A worker's application with the fence taken out: `celery -A tests.faults.without_fencing worker`. A control, for tests alone.

A checkpoint and the finish ask whose attempt it is no more, nor does the heartbeat; and Postgres doesn't end the transaction of one that
was stopped, which is a fence too.
"""

from __future__ import annotations

from typing import Any

import django

from config.celery import app  # noqa: F401  what `celery -A` looks for

django.setup()

from activity.jobs import lease  # noqa: E402
from activity.jobs.models import Job  # noqa: E402
from activity.jobs.run import Run  # noqa: E402


def _any(job: Job) -> Any:
    return Job.objects.filter(pk=job.pk)


patch: Any = setattr
for _name in ("_CHECKPOINT", "_RENEW", "_LOOK"):
    patch(lease, _name, getattr(lease, _name).replace("AND attempt = %(attempt)s AND state = 'running'", ""))
patch(lease, "_own", _any)
patch(Run, "_let_go_when_stopped", lambda self: None)
