"""Writes notes with their events until it is killed: `python -m tests.activity.writer_process <tenant id> <first number> within`.

With `after` or `before` in the place of `within` the event is recorded in a transaction of its own, after or before the note's: these
are the controls.
"""

from __future__ import annotations

import itertools
import sys

import django

django.setup()

from django.db import transaction  # noqa: E402

from activity import outbox  # noqa: E402
from tenants import context, directory  # noqa: E402
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


if __name__ == "__main__":
    with context.use_control():
        tenant = directory.by_id(sys.argv[1])
    first = int(sys.argv[2])
    with context.use_tenant(tenant):
        for each in itertools.count(first):
            write(each, sys.argv[3])
