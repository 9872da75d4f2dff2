"""Throwing away what has had its time."""

from __future__ import annotations

from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts.models import IdempotencyKey, SignInLink

BATCH = 5_000


def expired_prune() -> dict[str, int]:
    """Delete a batch of the expired idempotency keys, sign-in links and sessions of the active tenant, or of control.

    A batch is bounded, so that nothing is locked for long; the next run goes on. Answers how many of each went.
    """
    now = timezone.now()
    expired = {
        "idempotency_keys": IdempotencyKey.objects.filter(created_at__lt=now - IdempotencyKey.LIFETIME),
        "sign_in_links": SignInLink.objects.filter(expires_at__lt=now),
        "sessions": Session.objects.filter(expire_date__lt=now),
    }
    return {
        name: rows.model._default_manager.filter(pk__in=rows.values("pk")[:BATCH]).delete()[0]
        for name, rows in expired.items()
    }
