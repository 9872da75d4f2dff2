"""Which tenants a migration run has to touch."""

from __future__ import annotations

from tenants import context
from tenants.models import Tenant
from tenants.refs import TenantRef

LIVE = (Tenant.State.ACTIVE, Tenant.State.SUSPENDED)


def plan(version: str) -> list[TenantRef]:
    """The tenants whose schema isn't `version`, by slug. One query, also when there is nothing to do."""
    with context.use_control():
        return [tenant.ref() for tenant in Tenant.objects.filter(state__in=LIVE).exclude(schema_version=version)]
