"""A dispatcher in a process of its own: `python -m tests.schedules.dispatch_process <tenant id> [hold] [careless]`.

It says that it is ready, waits for a line, and starts what is due. `hold`: it stops for good when the first job is made and nothing has
committed yet, to be killed. `careless`, the control: without the row's lock, the one commit, and the keys of the jobs.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import django

django.setup()

from activity.jobs.models import Job  # noqa: E402
from activity.schedules import dispatch  # noqa: E402
from activity.schedules.models import Schedule  # noqa: E402
from tenants import context, directory  # noqa: E402

TOGETHER = 0.5  # seconds that each takes for a schedule, so that all are at the same one

_start, _job_start = dispatch._start, dispatch.job_start


def start(schedule: Schedule, key: str) -> Job:
    job = _start(schedule, key)
    if "hold" in sys.argv:
        say("held")
        time.sleep(600)
    time.sleep(TOGETHER)
    return job


def be_careless() -> None:
    from django.db.models import QuerySet

    def unlocked(queryset: QuerySet[Any], **_: Any) -> QuerySet[Any]:
        return queryset.all()

    def without_keys(*, idempotency_key: str, unique: str, **more: Any) -> Job:
        return _job_start(**more)

    QuerySet.select_for_update = unlocked  # type: ignore[method-assign]
    dispatch.transaction = SimpleNamespace(atomic=nullcontext)  # type: ignore[assignment]
    dispatch.job_start = without_keys  # type: ignore[assignment]


def say(word: str) -> None:
    print(word, flush=True)


if __name__ == "__main__":
    dispatch._start = start
    if "careless" in sys.argv:
        be_careless()
    with context.use_control():
        tenant = directory.by_id(sys.argv[1])
    say("ready")
    sys.stdin.readline()
    with context.use_tenant(tenant):
        dispatch.dispatch_due(tenant)
    say("done")
