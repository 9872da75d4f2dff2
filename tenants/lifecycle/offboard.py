"""Taking a tenant out of service: for a while (suspended), or for good (deleted, with all that it had)."""

from __future__ import annotations

import shutil
from pathlib import Path

import redis
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from tenants import context, epochs
from tenants.errors import TenantBusy, TenantNotFound
from tenants.lifecycle import postgres
from tenants.lifecycle.postgres import Administrator, administrator
from tenants.models import Tenant
from tenants.refs import TenantRef
from tenants.signals import tenant_deleted, tenant_state_changed
from tenants.valkey import redis_client

log = structlog.get_logger(__name__)

State = Tenant.State


def suspend_tenant(ref: TenantRef) -> TenantRef:
    """Stop serving an active tenant: its hosts answer 403 within a second. Raises TenantNotFound and TenantBusy."""
    return _change_state(ref, State.ACTIVE, State.SUSPENDED)


def resume_tenant(ref: TenantRef) -> TenantRef:
    """Serve a suspended tenant again. Raises TenantNotFound and TenantBusy."""
    return _change_state(ref, State.SUSPENDED, State.ACTIVE)


def _change_state(ref: TenantRef, former: str, state: str) -> TenantRef:
    with context.use_control(), transaction.atomic():
        tenant = Tenant.objects.select_for_update().filter(pk=ref.id).first()
        if tenant is None:
            raise TenantNotFound(by="id", value=ref.id)
        if tenant.state == state:
            return tenant.ref()
        if tenant.state != former:
            raise TenantBusy(slug=tenant.slug, state=tenant.state)
        tenant.state = state
        tenant.epoch += 1
        tenant.save(update_fields=["state", "epoch"])
        tenant_state_changed.send(sender=Tenant, tenant=tenant, former=former)
        epochs.publish_on_commit(ref.id, tenant.epoch)
    log.info("tenant_state_changed", tenant=tenant.slug, state=state)
    return tenant.ref()


def delete_tenant(ref: TenantRef) -> None:
    """Delete a tenant with its database, role, files, cached values and what other apps keep of it. There is no way back.

    It stops being served first. Interrupted, it is finished by the reaper or by asking again. Raises TenantNotFound, TenantBusy and
    ServerUnavailable.
    """
    with context.use_control():
        with transaction.atomic(durable=True):
            tenant = Tenant.objects.select_for_update().select_related("server").filter(pk=ref.id).first()
            if tenant is None:
                raise TenantNotFound(by="id", value=ref.id)
            if tenant.state == State.PROVISIONING:
                raise TenantBusy(slug=tenant.slug, state=tenant.state)
            if tenant.state != State.DELETING:
                Tenant.objects.filter(pk=tenant.pk).update(state=State.DELETING, epoch=F("epoch") + 1)
        epochs.publish(ref.id, epochs.GONE)
        with administrator(tenant.server) as admin, postgres.tenant_lock(admin, tenant_id=tenant.pk, slug=tenant.slug):
            remove(admin, tenant)


def remove(admin: Administrator, tenant: Tenant) -> None:
    """Remove all that there is of a tenant in the state `deleting`, the row last. The caller holds the tenant's lock.

    Each step bears being done again, so that it can be killed anywhere and begun anew.
    """
    ref = tenant.ref()
    postgres.database_drop(admin, tenant.database)
    postgres.role_drop(admin, tenant.role)
    shutil.rmtree(Path(settings.MEDIA_ROOT) / ref.id, ignore_errors=True)
    _clear_cache(ref)
    tenant_deleted.send(sender=Tenant, tenant=ref)
    Tenant.objects.filter(pk=tenant.pk).delete()
    epochs.publish(ref.id, epochs.GONE)
    log.info("tenant_removed", tenant=ref.slug, server=ref.server)


def _clear_cache(ref: TenantRef) -> None:
    """Remove the tenant's keys. Where Valkey is away they expire; nobody will have this id again."""
    client = redis_client()
    try:
        for key in client.scan_iter(match=f"{ref.id}:*", count=1000):
            client.delete(key)
    except redis.RedisError as error:
        log.warning("cache_unavailable", operation="remove_tenant", error=type(error).__name__)
