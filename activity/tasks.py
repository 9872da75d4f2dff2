"""The tasks that keep the log up to date: the relay, the sweep that finds what no hint told of, and the daily upkeep."""

from __future__ import annotations

import random
from typing import Any, Final

import structlog
from celery import shared_task
from django.db import DatabaseError

from activity import backlogs, mongo, retention, rollups, services, sweep
from activity import relay as relays
from activity.errors import LogUnavailable
from activity.signals import events_appended
from tenants import context, metrics
from tenants.models import Tenant
from tenants.task import TenantTask

log = structlog.get_logger(__name__)

SWEEP_EXPIRES: Final = 5  # seconds after which a relay that the sweep asked for needn't run: the next sweep asks again
SWEEP_AT_ONCE: Final = 500  # relays that one sweep asks for; of more tenants each has the same chance


@shared_task(base=TenantTask, name="activity.relay")
def relay(**_: Any) -> None:
    """Empty the tenant's outbox. While MongoDB is away the events wait there, and the sweep comes back to them."""
    ref = context.current()
    try:
        mongo.check()  # so that hints cost nothing while it is away
        writes = sweep.writes_here()  # before the outbox is looked at: what is written from now on makes it differ
        emptied = relays.relay(ref).emptied
    except LogUnavailable as error:
        log.warning("relay_waits", reason=error.reason)
        return
    events_appended.send(sender=None, ref=ref)
    if emptied:
        sweep.remember_clean(writes)


@shared_task(base=TenantTask, name="activity.sweep", runs_in_control=True)
def sweep_all(**_: Any) -> None:
    """Ask for a relay wherever something was written that no relay has looked at since."""
    if not mongo.is_up():
        log.warning("sweep_waits", reason="MongoDB is away")
        return
    unclean = [found.id for found in sweep.unclean()]
    metrics.TENANTS_TO_RELAY.set(len(unclean))
    for tenant_id in random.sample(unclean, min(SWEEP_AT_ONCE, len(unclean))):
        relay.apply_async(headers={"tenant": tenant_id}, expires=SWEEP_EXPIRES, retry=False)


@shared_task(base=TenantTask, name=rollups.TASK)
def keep_rollups(**_: Any) -> None:
    """Count what the tenant's log has from before its counts began, and fold old hours into days."""
    try:
        rollups.catch_up(context.current())
    except LogUnavailable as error:
        log.warning("rollups_wait", reason=error.reason)
    rollups.fold()


@shared_task(base=TenantTask, name="activity.watch", runs_in_control=True)
def watch(**_: Any) -> None:
    """Measure the outboxes in which events wait, for the metrics, the alarms and who sends events in."""
    backlogs.watch()


@shared_task(base=TenantTask, name="activity.prune_known", runs_in_control=True)
def prune_known(**_: Any) -> None:
    """Forget the ids that are old enough, in each tenant."""
    refs = [tenant.ref() for tenant in Tenant.objects.filter(state=Tenant.State.ACTIVE).iterator()]
    for ref in refs:
        try:
            with context.use_tenant(ref):
                services.known_events_prune()
        except DatabaseError as error:
            log.warning("prune_failed", tenant=ref.slug, error=type(error).__name__)


@shared_task(base=TenantTask, name="activity.prune_log")
def prune_log(**_: Any) -> int:
    """Remove what is older than the tenant keeps its events. While MongoDB is away it waits for the next day."""
    try:
        return retention.log_prune(context.current())
    except LogUnavailable as error:
        log.warning("prune_waits", reason=error.reason)
        return 0
