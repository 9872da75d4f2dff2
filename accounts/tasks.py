"""What is thrown away when its time has passed."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts.models import IdempotencyKey, SignInLink
from tenants.task import TenantTask

BATCH = 5_000


@shared_task(base=TenantTask, name="accounts.prune")  # type: ignore[untyped-decorator]
def prune(**kwargs: Any) -> dict[str, int]:
    """Delete the active tenant's (or control's) expired idempotency keys, sign-in links and sessions, a batch of each.

    A batch is bounded so that no run holds locks for long; the next run goes on.
    """
    now = timezone.now()
    keys = IdempotencyKey.objects.filter(created_at__lt=now - IdempotencyKey.LIFETIME).values("pk")[:BATCH]
    links = SignInLink.objects.filter(expires_at__lt=now).values("pk")[:BATCH]
    sessions = Session.objects.filter(expire_date__lt=now).values("pk")[:BATCH]
    return {
        "idempotency_keys": IdempotencyKey.objects.filter(pk__in=keys).delete()[0],
        "sign_in_links": SignInLink.objects.filter(pk__in=links).delete()[0],
        "sessions": Session.objects.filter(pk__in=sessions).delete()[0],
    }
