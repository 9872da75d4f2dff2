"""When a tenant's schedules are looked after next: a row in control for each tenant that has some.

So what is due is found without asking every tenant's database. A change only brings the row's time forward, before it commits; what puts it
off is the dispatcher, by what has committed (activity.schedules.dispatch).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db import DatabaseError, connections, transaction
from django.db.models.functions import Now

from tenants.db.handler import release_unless_active
from tenants.models import JobSchedule, Tenant
from tenants.refs import CONTROL, TenantRef

log = structlog.get_logger(__name__)

SWEEP_AGAIN: Final = timedelta(seconds=15)
SWEEP_AT_ONCE: Final = 500

# An hour: so late a tenant's schedules are at most, should the row say something wrong.
_PUT: Final = """
INSERT INTO tenants_jobschedule AS kept (tenant_id, due_at)
VALUES (%s, least(%s, statement_timestamp() + interval '1 hour'))
ON CONFLICT (tenant_id) DO UPDATE SET due_at = {}
"""
_NOT_LATER: Final = _PUT.format("least(kept.due_at, excluded.due_at)")
_EXACTLY: Final = _PUT.format("excluded.due_at")


def bring_forward(ref: TenantRef, at: datetime) -> None:
    """Have the tenant looked after at that moment, or sooner. Raises django.db.DatabaseError."""
    with _control():
        _run(_NOT_LATER, ref, at)


def put(ref: TenantRef, at: datetime | None) -> None:
    """Have the tenant looked after at that moment and not sooner; None: it has no schedules that run. Raises django.db.DatabaseError."""
    with _control():
        if at is None:
            JobSchedule.objects.filter(tenant_id=ref.id).delete()
        else:
            _run(_EXACTLY, ref, at)


def claim() -> list[str]:
    """The ids of the tenants to look after now, for this caller alone: they are due again in SWEEP_AGAIN. To be called in control.

    Tenants that aren't served wait until they are.
    """
    with transaction.atomic():
        found = JobSchedule.objects.filter(due_at__lte=Now(), tenant__state=Tenant.State.ACTIVE).order_by("due_at")
        locked = found.select_for_update(skip_locked=True, of=("self",))
        ids = list(locked.values_list("tenant_id", flat=True)[:SWEEP_AT_ONCE])
        JobSchedule.objects.filter(pk__in=ids).update(due_at=Now() + SWEEP_AGAIN)
    return [str(tenant_id) for tenant_id in ids]


def _run(statement: str, ref: TenantRef, at: datetime) -> None:
    with connections[CONTROL.alias].cursor() as cursor:
        cursor.execute(statement, [ref.id, at])


@contextmanager
def _control() -> Iterator[None]:
    """Control's connection is given back at the end, so that no thread holds two for long."""
    try:
        yield
    except DatabaseError as error:
        log.warning("schedules_due_late", error=type(error).__name__)
        raise
    finally:
        release_unless_active(CONTROL.alias)
