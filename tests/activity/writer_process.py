"""Makes writers to be killed: `python -m tests.activity.writer_process`.

For each line `<tenant id> <first number> within` it makes one, tells its pid, and waits for its end. A writer writes notes with their
events. With `after` or `before` in the place of `within` an event is recorded in a transaction of its own, after or before the
note's: the controls.
"""

from __future__ import annotations

import itertools
import os
import sys

import django

django.setup()

from django.db import transaction  # noqa: E402

from activity import outbox  # noqa: E402
from tenants import context, directory  # noqa: E402
from tenants.refs import TenantRef  # noqa: E402
from tests.activity.conftest import report  # noqa: E402
from tests.notes.models import Note  # noqa: E402


def write(number: int, how: str) -> None:
    if how == "within":
        with transaction.atomic():
            Note.objects.create(title=str(number))
            outbox.record(report(number))
        return
    steps = [lambda: Note.objects.create(title=str(number)), lambda: outbox.record(report(number))]
    for step in steps if how == "after" else reversed(steps):
        with transaction.atomic():
            step()


def write_until_killed(ref: TenantRef, first: int, how: str) -> None:
    with context.use_tenant(ref):
        for number in itertools.count(first):
            write(number, how)


if __name__ == "__main__":
    for line in sys.stdin:
        tenant_id, start, manner = line.split()
        with context.use_control():
            tenant = directory.by_id(tenant_id)
        child = os.fork()
        if not child:
            write_until_killed(tenant, int(start), manner)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("killed", flush=True)
