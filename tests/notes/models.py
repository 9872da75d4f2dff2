"""A team's own app, written as for any Django project: it knows nothing of tenants."""

from __future__ import annotations

from django.conf import settings
from django.db import models, transaction
from taggit.managers import TaggableManager


class Note(models.Model):
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    tags = TaggableManager(blank=True)

    def __str__(self) -> str:
        return self.title


def note_copy(note: Note) -> Note:
    """A service with a bare atomic(), as apps write them."""
    with transaction.atomic():
        copy = Note.objects.create(title=f"Copy of {note.title}", body=note.body, author=note.author)
        copy.tags.set(note.tags.all())
    return copy
