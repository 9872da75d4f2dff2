"""Tasks of the app: one that reads from a replica, and some that tell where they ran."""

from __future__ import annotations

import json
from typing import Any

from celery import chord, shared_task
from django.core.cache import cache
from django.db import connection

from tenants import context
from tenants.valkey import redis_client
from tests.notes.models import Note


@shared_task(name="notes.count", reads="replica")
def note_count(*, title: str, answer: str) -> None:
    """Count the notes of that title, and leave the number in the cache under `answer`."""
    cache.set(answer, Note.objects.filter(title=title).count(), timeout=60)


@shared_task(name="notes.add")
def note_add(*, title: str) -> None:
    """Write a note of that title."""
    Note.objects.create(title=title)


@shared_task(name="notes.tell", bind=True, max_retries=1)
def note_tell(self: Any, *before: Any, answers: str, step: str, again: bool = False) -> str:
    """Append the step, the active tenant, its database and the connection's process to the list `answers`, once more when told to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_backend_pid()")
        database, pid = cursor.fetchone()
    redis_client().rpush(answers, json.dumps([step, context.current().id, database, pid]))
    if again and not self.request.retries:
        raise self.retry(countdown=0.1)
    return step


@shared_task(name="notes.spread")
def note_spread(*, answers: str) -> None:
    """A chord: two tasks, and one after both."""
    chord([note_tell.s(answers=answers, step="part"), note_tell.s(answers=answers, step="part")])(
        note_tell.s(answers=answers, step="body")
    )
