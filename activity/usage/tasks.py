"""What has usage measured, and old days thrown away."""

from __future__ import annotations

from typing import Any, Final

from celery import shared_task

from activity.usage import measuring
from tenants import context
from tenants.task import TenantTask

BUDGET: Final = 10.0  # seconds of each minute for which one worker begins to measure tenants

MEASURE_SOON: Final = "usage.measure_soon"


@shared_task(base=TenantTask, name="usage.measure", runs_in_control=True)
def measure(**_: Any) -> int:
    """Measure the tenants that are due; how many."""
    return measuring.measure_due(BUDGET)


@shared_task(base=TenantTask, name=MEASURE_SOON)
def measure_soon(**_: Any) -> bool:
    """Measure the tenant whose numbers somebody looks at."""
    return measuring.measure_soon(context.current_tenant())


@shared_task(base=TenantTask, name="usage.prune", runs_in_control=True)
def prune(**_: Any) -> int:
    """Throw away days that are old enough."""
    return measuring.prune()
