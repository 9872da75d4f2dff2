"""When the sweeper looks after a tenant's webhooks next: a row in control for each tenant that has something to send.

So what no hint told of is found without asking every tenant's database. What goes wrong here is logged: the relay, which marks a tenant,
is asked again as long as its database isn't noted as clean (activity.sweep).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import structlog
from django.db import DatabaseError
from django.db.models.functions import Now

from tenants.db.handler import release_unless_active
from tenants.models import Tenant, WebhookSchedule
from tenants.refs import CONTROL, TenantRef

log = structlog.get_logger(__name__)

SWEEP_AGAIN: Final = timedelta(seconds=15)
SWEEP_AT_ONCE: Final = 200


def mark(ref: TenantRef, *, seconds: float = 0.0) -> None:
    """Have the tenant looked after in so many seconds. Raises django.db.DatabaseError."""
    with _control():
        row = WebhookSchedule(tenant_id=ref.id, due_at=Now() + timedelta(seconds=seconds))
        WebhookSchedule.objects.bulk_create(
            [row], update_conflicts=True, unique_fields=["tenant"], update_fields=["due_at"]
        )


def clear(ref: TenantRef) -> None:
    """There is nothing to send. Raises django.db.DatabaseError."""
    with _control():
        WebhookSchedule.objects.filter(tenant_id=ref.id).delete()


def due() -> list[str]:
    """The ids of the tenants to look after, which are due again in SWEEP_AGAIN. To be called in control."""
    found = WebhookSchedule.objects.filter(due_at__lte=Now(), tenant__state=Tenant.State.ACTIVE).order_by("due_at")
    ids = list(found.values_list("tenant_id", flat=True)[:SWEEP_AT_ONCE])
    WebhookSchedule.objects.filter(pk__in=ids).update(due_at=Now() + SWEEP_AGAIN)
    return [str(tenant_id) for tenant_id in ids]


@contextmanager
def _control() -> Iterator[None]:
    """Control's connection is given back at the end, so that no thread holds two for long."""
    try:
        yield
    except DatabaseError as error:
        log.warning("webhook_schedule_late", error=type(error).__name__)
        raise
    finally:
        release_unless_active(CONTROL.alias)
