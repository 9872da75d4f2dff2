"""A new password for a tenant's Postgres role, while the tenant works."""

from __future__ import annotations

import secrets

import structlog
from django.db import transaction

from tenants import context, epochs
from tenants.errors import TenantBusy, TenantNotFound
from tenants.lifecycle import postgres
from tenants.lifecycle.postgres import administrator
from tenants.models import Tenant
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

State = Tenant.State


def rotate_credentials(ref: TenantRef) -> TenantRef:
    """Give the tenant's role a new password and its route a new epoch.

    The registry has it first: whoever is refused with the old password, or comes in the instant before the server has the new one, asks
    the registry and tries again (tenants.db.routes). Connections that are open stay usable, and are closed when they come back to
    their pools. Interrupted between the two, it leaves a tenant that can't open new connections: ask again.

    Raises TenantNotFound, TenantBusy and ServerUnavailable.
    """
    with context.use_control():
        tenant = Tenant.objects.select_related("server").filter(pk=ref.id).first()
        if tenant is None:
            raise TenantNotFound(by="id", value=ref.id)
        with administrator(tenant.server) as admin, postgres.tenant_lock(admin, tenant_id=tenant.pk, slug=tenant.slug):
            password = secrets.token_urlsafe(32)
            with transaction.atomic(durable=True):
                tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
                if tenant.state not in (State.ACTIVE, State.SUSPENDED):
                    raise TenantBusy(slug=tenant.slug, state=tenant.state)
                tenant.set_password(password)
                tenant.epoch += 1
                tenant.save(update_fields=["encrypted_password", "epoch"])
            postgres.role_let_in(admin, tenant.role, password)
        epochs.publish(ref.id, tenant.epoch)
    log.info("tenant_credentials_rotated", tenant=tenant.slug, epoch=tenant.epoch)
    return tenant.ref()
