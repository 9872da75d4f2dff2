"""What operators do with tenants, in the control database."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Count

from accounts import events
from accounts.errors import NotFound
from accounts.validation import clean_name
from activity import outbox
from tenants import epochs
from tenants.db import replicas, roles
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
        changed = {
            field: [getattr(tenant, field), value]
            for field, value in changes.items()
            if getattr(tenant, field) != value
        }
        if changed:
            for field, (_, value) in changed.items():
                setattr(tenant, field, value)
            # A plan's time limits are part of the route: its connections start with them.
            tenant.epoch += "plan" in changed
            tenant.save(update_fields=[*changed, "epoch"])
            outbox.record(events.TenantUpdated.of(tenant, changes=changed))
            epochs.publish_on_commit(str(tenant.pk), tenant.epoch)
    return tenant


def tenant_suspend(*, tenant: Tenant) -> Tenant:
    """Stop serving an active tenant: its hosts answer 403 within a second. Raises TenantBusy."""
    offboard.suspend_tenant(tenant.ref())
    return tenant_get(tenant.slug)


def tenant_resume(*, tenant: Tenant) -> Tenant:
    """Serve a suspended tenant again. Raises TenantBusy."""
    offboard.resume_tenant(tenant.ref())
    return tenant_get(tenant.slug)


def record_state_change(sender: Any, tenant: Tenant, former: str, **kwargs: Any) -> None:
    """Whoever makes, suspends or resumes a tenant (sign-up, API, admin, commands) leaves an event in the same transaction."""
    happened: dict[tuple[str, str], type[events.TenantEvent]] = {
        (Tenant.State.PROVISIONING, Tenant.State.ACTIVE): events.TenantCreated,
        (Tenant.State.ACTIVE, Tenant.State.SUSPENDED): events.TenantSuspended,
        (Tenant.State.SUSPENDED, Tenant.State.ACTIVE): events.TenantResumed,
    }
    event = happened.get((former, tenant.state))
    if event is not None:
        outbox.record(event.of(tenant))


def tenant_delete(*, tenant: Tenant) -> None:
    """Delete a tenant with all that it has. There is no way back. Raises TenantBusy and ServerUnavailable."""
    offboard.delete_tenant(tenant.ref())


def servers() -> list[dict[str, Any]]:
    """Each server with its number of tenants, and the lag of its replicas in bytes where this process has sampled it."""
    found = Server.objects.annotate(tenant_count=Count("tenants")).prefetch_related("replicas")
    lag = {
        state.endpoint.name: replicas.lag_of(state, roles.state_of(ref.primary)) if state.healthy else None
        for ref in (server_of(server.name) for server in found)
        for endpoint in ref.replicas
        if (state := roles.state_of(endpoint)) is not None
    }
    return [
        {
            "name": server.name,
            "is_open": server.is_open,
            "tenants": server.tenant_count,
            "replicas": [
                {"name": replica.name, "lag_bytes": lag.get(f"{server.name}/{replica.name}")}
                for replica in server.replicas.all()
            ],
        }
        for server in found
    ]
