"""What a tenant's plan limits (settings.PLAN_LIMITS): a meter's name, and by plan how much of it. What isn't named has no limit.

Where there is no limit nothing is asked of any server.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connection

from tenants import context, disk
from tenants.errors import PlanLimitReached
from tenants.refs import Ref, TenantRef


def limit_of(meter: str, ref: Ref | None = None) -> int | None:
    """The limit of a meter for a tenant, the active one if none is named; None where there is none, as in control."""
    if ref is None:
        ref = context.active()
    if not isinstance(ref, TenantRef):
        return None
    limits: dict[str, int] = settings.PLAN_LIMITS.get(meter, {})
    return limits.get(ref.plan)


def check_storage(wanted: int, *, frees: int = 0) -> None:
    """Refuse a file of `wanted` bytes for which the active tenant has no room. Raises PlanLimitReached (403).

    `frees` bytes of what is used go when this is done. What is used is measured now. Of two files at the same moment both may pass.
    """
    limit = limit_of("storage_bytes")
    if limit is None:
        return
    with connection.cursor() as cursor:
        used = disk.database_bytes(cursor) + disk.file_bytes() - frees
    if used + wanted > limit:
        raise refused(PlanLimitReached.of_storage(context.current_tenant().plan, limit, used, wanted))


def check_job_seconds() -> None:
    """Refuse to start a job when the day's seconds are used up. Raises PlanLimitReached (429), and django.db.DatabaseError.

    Seconds of jobs that run elsewhere count once their process has flushed them (tenants.usage), some seconds later.
    """
    limit = limit_of("job_seconds")
    if limit is None:
        return
    from tenants import usage
    from tenants.db.handler import release_unless_active
    from tenants.models import UsageDay
    from tenants.refs import CONTROL

    ref = context.current_tenant()
    row = UsageDay.objects.filter(tenant_id=ref.id, day=usage.today()).values_list("job_seconds", flat=True).first()
    release_unless_active(CONTROL.alias)
    used = (row or 0.0) + usage.not_flushed(ref).job_seconds
    if used >= limit:
        raise refused(PlanLimitReached.of_job_seconds(ref.plan, limit, used, usage.seconds_of_day_left()))


def refused(error: PlanLimitReached) -> PlanLimitReached:
    """The error, counted for operators."""
    from tenants import metrics

    metrics.PLAN_REFUSALS.labels(error.meter, error.plan).inc()
    return error
