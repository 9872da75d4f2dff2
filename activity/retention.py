"""Retention: what is older than the tenant's plan keeps leaves the log, as whole checkpoints, whose signed digests stay."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from activity import log as activity_log
from activity import rollups
from activity.errors import RetentionInvalid
from activity.events import LogRetentionChanged, Target
from activity.models import LogCheckpoint, LogHead
from activity.outbox import record
from activity.segments import locked_head
from tenants.refs import Ref, TenantRef

log = structlog.get_logger(__name__)


def plan_days(ref: Ref) -> int | None:
    """The days for which the tenant's plan keeps events; None: for ever, as control does."""
    return settings.ACTIVITY_RETENTION.get(ref.plan) if isinstance(ref, TenantRef) else None


def kept_days(ref: Ref) -> int | None:
    """The days for which the active tenant, `ref`, keeps events: its own number, if that is less than its plan's."""
    own = LogHead.objects.values_list("keep_days", flat=True).first()
    return min((days for days in (own, plan_days(ref)) if days is not None), default=None)


def retention_change(ref: Ref, *, days: int | None) -> None:
    """Keep the active tenant's events for so many days; None: for as long as its plan does. Raises RetentionInvalid."""
    most = plan_days(ref)
    if days is not None and not 1 <= days <= (most or 36_500):
        raise RetentionInvalid(f"Give a number of days from 1 to {most or 36_500:,}.")
    with transaction.atomic():
        head = locked_head()
        former = head.keep_days
        if former != days:
            LogHead.objects.update(keep_days=days)
            target = Target("tenant", ref.id, ref.name)
            record(LogRetentionChanged(target=target, former=former, days=days))


def log_prune(ref: Ref) -> int:
    """Remove from the active tenant's log what is older than it is kept; returns how many events. Raises LogUnavailable.

    An event's age is that of its checkpoint, by Postgres's clock: the event's own time may be anything. First the readers are sent past
    the events, then these go: killed in between, the next time removes what is left.
    """
    days = kept_days(ref)
    if days is None:
        return 0
    with transaction.atomic():
        head = locked_head()
        old = LogCheckpoint.objects.filter(at__lt=Now() - timedelta(days=days))
        last = old.aggregate(last=Max("last"))["last"] or 0
        first = max(head.first, min(last, head.appended) + 1)
        LogHead.objects.update(first=first)
        LogCheckpoint.objects.filter(last__lt=first).exclude(prints=b"").update(prints=b"")
    if first == 1:
        return 0
    rollups.leave(ref, first - 1)
    removed = activity_log.remove_before(ref, first)
    if removed:
        log.info("log_pruned", removed=removed, first=first)
    return removed
