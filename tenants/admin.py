"""The operators' pages of servers and domains, which show no credentials. Those of tenants are in accounts.admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from tenants import health, metrics, servers
from tenants.db.pools import pool_of
from tenants.models import Domain, Replica, Server


@admin.register(Domain)
class DomainAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("host", "tenant", "is_verified", "created_at")
    list_filter = ("is_verified",)
    search_fields = ("host", "tenant__slug")
    autocomplete_fields = ("tenant",)
    list_select_related = ("tenant",)

    def save_model(self, request: HttpRequest, obj: Domain, form: Any, change: bool) -> None:
        obj.host = obj.host.lower().rstrip(".")
        super().save_model(request, obj, form, change)


class ReplicaInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Replica
    fields = ("name", "address")
    readonly_fields = fields
    extra = 0
    can_delete = False

    @admin.display(description="address")
    def address(self, replica: Replica) -> str:
        return _address(replica.url)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Server)
class ServerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "address", "is_open", "tenants", "state", "replica_lag", "pool_use")
    fields = ("name", "address", "is_open", "template_version", "state", "replica_lag", "pool_use", "created_at")
    readonly_fields = ("name", "address", "template_version", "state", "replica_lag", "pool_use", "created_at")
    inlines = (ReplicaInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Server]:
        counted: QuerySet[Server] = super().get_queryset(request).annotate(tenant_count=Count("tenants"))
        return counted

    @admin.display(description="address")
    def address(self, server: Server) -> str:
        return _address(server.url)

    @admin.display(description="tenants", ordering="tenant_count")
    def tenants(self, server: Any) -> int:
        return int(server.tenant_count)

    @admin.display(description="state")
    def state(self, server: Server) -> str:
        return next((part.state for part in health.report_sync().servers if part.name == server.name), "unknown")

    @admin.display(description="replica lag")
    def replica_lag(self, server: Server) -> str:
        """Bytes of WAL that each replica has not replayed."""
        part = next((part for part in health.report_sync().servers if part.name == server.name), None)
        replicas = part.facts.get("replicas", []) if part else []
        words = [
            f"{replica['name']}: {replica['lag_bytes']:,} bytes"
            if "lag_bytes" in replica
            else f"{replica['name']}: down"
            for replica in replicas
        ]
        return ", ".join(words) or "no replica"

    @admin.display(description="pool use")
    def pool_use(self, server: Server) -> str:
        """Connections of this machine's processes, by what they do."""
        use = metrics.pool_totals().get(pool_of(servers.server_of(server.name).primary).name)
        if not use:
            return "none yet"
        idle, limit, waiting = (int(use[key]) for key in ("pool_available", "pool_max", "requests_waiting"))
        return f"{int(use['pool_size']) - idle} in use, {idle} idle, of {limit}; {waiting} waiting"


def _address(url: str) -> str:
    """Host and port of a database URL, and nothing that is secret."""
    endpoint = servers.endpoint_of(url, name="")
    return f"{endpoint.host}:{endpoint.port}"
