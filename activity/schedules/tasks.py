"""What carries schedules to the workers: the sweep that finds tenants with something due, and the dispatch in each of them."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from activity.schedules import due
from activity.schedules.dispatch import DISPATCH, dispatch_due
from tenants import context
from tenants.refs import TenantRef
from tenants.task import TenantTask

HINT_EXPIRES = 60  # seconds, by the clocks of two machines, after which a hint needn't arrive: the tenant is due again


@shared_task(base=TenantTask, name="schedules.sweep", runs_in_control=True)
def sweep(**_: Any) -> int:
    """Hint at every tenant with something due; returns how many. Whatever number of beats has it run, each is hinted at once."""
    tenants = due.claim()
    for tenant_id in tenants:
        dispatch.apply_async(headers={"tenant": tenant_id}, expires=HINT_EXPIRES, retry=False)
    return len(tenants)


@shared_task(base=TenantTask, name=DISPATCH)
def dispatch(**_: Any) -> int:
    """Start what is due of the tenant. Once a day it is sent to all tenants, and repairs a row in control that was lost."""
    ref = context.current()
    return dispatch_due(ref) if isinstance(ref, TenantRef) else 0
