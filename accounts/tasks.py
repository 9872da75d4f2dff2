"""The daily upkeep of accounts."""

from __future__ import annotations

import time
from typing import Any, Final

from celery import shared_task

from accounts.imports.job import staged_prune
from accounts.imports.waiting import waiting_prune
from accounts.services.expiry import BATCH, expired_prune
from tenants.task import TenantTask

PRUNES_FOR: Final = 60.0  # seconds for a tenant


@shared_task(base=TenantTask, name="accounts.prune")
def prune(**_: Any) -> None:
    """Throw away what has expired in the tenant, or in control."""
    until = time.monotonic() + PRUNES_FOR
    while BATCH in expired_prune().values() and time.monotonic() < until:
        pass  # what is left after that goes tomorrow
    staged_prune()
    waiting_prune()
