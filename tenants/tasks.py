"""Tasks of tenancy itself."""

from __future__ import annotations

from typing import Any, Final

from celery import current_app, shared_task

from tenants.lifecycle.reap import reap_unfinished
from tenants.models import Tenant
from tenants.refs import CONTROL
from tenants.task import TenantTask

UPKEEP: Final = 9  # the lowest priority that the broker has; what has none goes first


@shared_task(base=TenantTask, name="tenants.fan_out", runs_in_control=True)
def fan_out(*, task: str, **kwargs: Any) -> int:
    """Send a task to every active tenant and to control; answers to how many. For upkeep that has no hurry: all else goes before it."""
    ids = Tenant.objects.filter(state=Tenant.State.ACTIVE).order_by("id").values_list("id", flat=True)
    count = 0
    for tenant in (CONTROL.id, *ids):
        current_app.send_task(task, headers={"tenant": str(tenant)}, priority=UPKEEP, retry=False)
        count += 1
    return count


@shared_task(base=TenantTask, name="tenants.reap", runs_in_control=True)
def reap(**_: Any) -> list[str]:
    """Remove what is left of tenants whose making or deletion was interrupted; answers their slugs."""
    return reap_unfinished()
