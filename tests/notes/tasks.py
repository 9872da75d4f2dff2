"""A task of the app, which reads from a replica."""

from __future__ import annotations

from celery import shared_task
from django.core.cache import cache

from tests.notes.models import Note


@shared_task(name="notes.count", reads="replica")
def note_count(*, title: str, answer: str) -> None:
    """Count the notes of that title, and leave the number in the cache under `answer`."""
    cache.set(answer, Note.objects.filter(title=title).count(), timeout=60)
