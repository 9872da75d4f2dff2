"""A team's own app, written as for any Django project: it knows nothing of tenants."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models, transaction
from taggit.managers import TaggableManager

from activity.audit import Audited


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


class Contract(Audited):
    """A model of the app whose changes are recorded."""

    audit_secret: ClassVar[frozenset[str]] = frozenset({"iban"})
    audit_ignore: ClassVar[frozenset[str]] = frozenset({"views"})

    title = models.CharField(max_length=2000)
    amount = models.IntegerField(default=0)
    due = models.DateField(null=True, blank=True)
    iban = models.CharField(max_length=40, blank=True)
    api_token = models.CharField(max_length=40, blank=True)
    terms = models.JSONField(default=dict)
    note = models.ForeignKey(Note, models.SET_NULL, null=True, blank=True)
    views = models.IntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.title


class Clause(Audited):
    """Goes with its contract, and has a key of its own choice."""

    audit_name: ClassVar[str] = "contract_clause"

    number = models.CharField(max_length=20, primary_key=True)
    contract = models.ForeignKey(Contract, models.CASCADE, related_name="clauses")
    text = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.number


class Binder(models.Model):
    """Isn't audited; what is filed in it is."""

    def __str__(self) -> str:
        return str(self.pk)


class Sheet(Audited):
    binder = models.ForeignKey(Binder, models.CASCADE, null=True)

    def __str__(self) -> str:
        return str(self.pk)
