"""The daily upkeep of accounts."""

from __future__ import annotations

from typing import Any

import structlog
from celery import shared_task
from django.db import DatabaseError

from accounts.imports.job import staged_prune
from accounts.imports.waiting import waiting_prune
from accounts.services.expiry import expired_prune
from tenants.context import use
from tenants.models import Tenant
from tenants.refs import CONTROL, Ref
from tenants.task import TenantTask

log = structlog.get_logger(__name__)


@shared_task(base=TenantTask, name="accounts.prune", runs_in_control=True)
def prune(**_: Any) -> None:
    """Throw away what has expired, in control and in each tenant; a tenant that can't be reached waits for the next run."""
    refs: list[Ref] = [CONTROL, *(row.ref() for row in Tenant.objects.filter(state=Tenant.State.ACTIVE).iterator())]
    for ref in refs:
        try:
            with use(ref):
                expired_prune()
                staged_prune()
                waiting_prune()
        except (DatabaseError, OSError) as error:  # the latter of files
            log.warning("prune_failed", tenant=ref.slug, error=type(error).__name__)
