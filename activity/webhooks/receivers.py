"""What webhooks do when the log has grown."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from activity.signals import events_appended
from activity.webhooks import schedule, selectors, services
from tenants import hints
from tenants.refs import Ref, TenantRef


@receiver(events_appended, dispatch_uid="webhooks.deliver")
def deliver_news(*, ref: Ref, **_: Any) -> None:
    """Have what is new delivered. Raises django.db.DatabaseError: then the relay is asked again."""
    if isinstance(ref, TenantRef) and selectors.has_news():
        schedule.mark(ref)
        hints.send(services.DELIVER)
