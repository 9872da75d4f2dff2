"""What the control plane does by the clock."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from tenants.lifecycle.reap import reap_unfinished
from tenants.task import TenantTask


@shared_task(base=TenantTask, name="tenants.reap", runs_in_control=True)  # type: ignore[untyped-decorator]
def reap(**kwargs: Any) -> list[str]:
    """Remove what was left half-made or half-deleted."""
    return reap_unfinished()
