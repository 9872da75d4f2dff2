"""What carries messages to the workers: the hint, the sweep that finds what no hint told of, and the daily upkeep."""

from __future__ import annotations

import time
from typing import Any, Final

from celery import shared_task

from activity.jobs import shutdown, slots
from activity.webhooks import delivery, schedule, services
from tenants import context, hints, upkeep
from tenants.refs import CONTROL
from tenants.task import TenantTask

TURN: Final = 10.0  # seconds for which a tenant's webhooks are delivered; then it is another one's turn
HINT_EXPIRES: Final = 10  # seconds after which a hint of the sweep needn't arrive: the tenant is due again


@shared_task(base=TenantTask, name=services.DELIVER)
def deliver(**_: Any) -> None:
    """Deliver what is due to the tenant's webhooks. It takes a slot of those for jobs: a slow receiver keeps no event from the log."""
    ends_at = time.monotonic() + TURN

    def may_go_on() -> bool:
        slots.stamp()
        return time.monotonic() < ends_at and not shutdown.is_asked_for()

    with slots.slot() as has_slot:
        is_more_due = has_slot and delivery.deliver_due(context.current_tenant(), may_go_on=may_go_on)
    if is_more_due:
        hints.send(services.DELIVER)


@shared_task(base=TenantTask, name="webhooks.sweep", runs_in_control=True)
def sweep(**_: Any) -> int:
    """Hint at every tenant that is due: whose hint was lost, or whose receiver is to be tried again; returns how many."""
    tenants = schedule.due()
    for tenant_id in tenants:
        deliver.apply_async(headers={"tenant": tenant_id}, expires=HINT_EXPIRES, retry=False)
    return len(tenants)


@shared_task(base=TenantTask, name="webhooks.prune")
def prune(**_: Any) -> int:
    """Throw away old deliveries of the tenant."""
    return upkeep.in_batches(services.deliveries_prune) if context.current() is not CONTROL else 0
