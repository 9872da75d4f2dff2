"""What operators do with tenants, in the control database."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Count

from accounts import events
from accounts.errors import NotFound, TenantBusy
from accounts.validation import clean_name
from activity import outbox
from tenants import directory
from tenants.db import replicas
from tenants.lifecycle import offboard
from tenants.models import Server, Tenant
from tenants.pages import Page, keyset_page
from tenants.servers import server_of


def tenant_page(*, limit: int = 50, cursor: str | None = None) -> Page[Tenant]:
    """A page of the tenants, oldest first. Raises BadCursor."""
    return keyset_page(Tenant.objects.all(), limit=limit, cursor=cursor)


def tenant_get(slug: str) -> Tenant:
    """A tenant. Raises NotFound."""
    tenant = Tenant.objects.filter(slug=slug).first() if "\0" not in slug else None
    if tenant is None:
        raise NotFound("tenant")
    return tenant


def tenant_update(*, tenant: Tenant, changes: dict[str, Any]) -> Tenant:
    """Change a tenant's `name` and `plan`, whichever `changes` holds. Raises InvalidField."""
    if "name" in changes:
        changes = {**changes, "name": clean_name(changes["name"], required=True)}
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        changed = {field: [getattr(tenant, field), value] for field, value in changes.items() if getattr(tenant, field) != value}
        if changed:
            for field, (_, value) in changed.items():
                setattr(tenant, field, value)
            tenant.save(update_fields=list(changed))
            outbox.record(events.TenantUpdated.of(tenant, changes=changed))
            transaction.on_commit(partial(directory.forget, str(tenant.pk)))
    return tenant


def tenant_suspend(*, tenant: Tenant) -> Tenant:
    """Stop serving an active tenant: its hosts answer 403 within a second, its tasks wait. Raises TenantBusy."""
    return _change_state(tenant, Tenant.State.ACTIVE, Tenant.State.SUSPENDED)


def tenant_resume(*, tenant: Tenant) -> Tenant:
    """Serve a suspended tenant again. Raises TenantBusy."""
    return _change_state(tenant, Tenant.State.SUSPENDED, Tenant.State.ACTIVE)


def _change_state(tenant: Tenant, former: str, state: str) -> Tenant:
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        if tenant.state == state:
            return tenant
        if tenant.state != former:
            raise TenantBusy(slug=tenant.slug, state=tenant.state)
        tenant.state = state
        tenant.save(update_fields=["state"])
        event = events.TenantSuspended if state == Tenant.State.SUSPENDED else events.TenantResumed
        outbox.record(event.of(tenant))
        transaction.on_commit(partial(directory.forget, str(tenant.pk)))
    return tenant


def tenant_delete(*, tenant: Tenant) -> None:
    """Delete a tenant with its database, role and credentials. There is no way back."""
    offboard.delete_tenant(tenant.ref())


def servers() -> list[dict[str, Any]]:
    """Each server with its number of tenants, and the lag of its replicas in bytes where this process has sampled it."""
    found = Server.objects.annotate(tenant_count=Count("tenants")).prefetch_related("replicas")
    for server in found:
        replicas.watch(server_of(server.name))
    lag = {(state.server, state.replica): state.lag_bytes if state.healthy else None for state in replicas.status()}
    return [
        {
            "name": server.name,
            "is_open": server.is_open,
            "tenants": server.tenant_count,
            "replicas": [
                {"name": replica.name, "lag_bytes": lag.get((server.name, replica.name))} for replica in server.replicas.all()
            ],
        }
        for server in found
    ]
