"""The daily upkeep of accounts."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from accounts.imports.job import staged_prune
from accounts.imports.waiting import waiting_prune
from accounts.services.expiry import expired_prune
from tenants import upkeep
from tenants.task import TenantTask


@shared_task(base=TenantTask, name="accounts.prune")
def prune(**_: Any) -> None:
    """Throw away what has expired in the tenant, or in control."""
    upkeep.in_batches(lambda: sum(expired_prune().values()))
    staged_prune()
    waiting_prune()
