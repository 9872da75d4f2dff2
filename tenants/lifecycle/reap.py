"""Removes what was left by those who were killed while they made or deleted a tenant."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db.models import Q
from django.utils import timezone

from tenants import context
from tenants.errors import ServerUnavailable, TenantBusy
from tenants.lifecycle import offboard, postgres
from tenants.lifecycle.postgres import administrator
from tenants.models import Tenant

log = structlog.get_logger(__name__)

State = Tenant.State


def reap_unfinished(older_than: timedelta = timedelta(minutes=10)) -> list[str]:
    """Remove every tenant that is being deleted, or has been in the making for longer than `older_than`. Returns their slugs.

    One that somebody is at work on is left to them, and one whose server is away to the next time.
    """
    reaped = []
    with context.use_control():
        in_the_making = Q(state=State.PROVISIONING, created_at__lte=timezone.now() - older_than)
        unfinished = Tenant.objects.filter(Q(state=State.DELETING) | in_the_making).select_related("server")
        for tenant in unfinished:
            try:
                if _reap(tenant):
                    reaped.append(tenant.slug)
            except (TenantBusy, ServerUnavailable) as error:
                log.warning("tenant_not_reaped", tenant=tenant.slug, reason=error.message)
    return reaped


def _reap(tenant: Tenant) -> bool:
    with (
        administrator(tenant.server) as admin,
        postgres.tenant_lock(admin, tenant_id=tenant.pk, slug=tenant.slug, timeout=0),
    ):
        # Under the lock: it may have become active since it was read.
        unfinished = Tenant.objects.filter(pk=tenant.pk, state__in=(State.PROVISIONING, State.DELETING))
        if not unfinished.update(state=State.DELETING):
            return False
        offboard.remove(admin, tenant)
    return True
