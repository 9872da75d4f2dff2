"""`manage.py fleet_status`: how far the tenants are with this code's migrations."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q

from tenants.fleet.plan import LIVE
from tenants.lifecycle.schema import schema_version
from tenants.management.base import TenantryCommand
from tenants.models import Server


class Command(TenantryCommand):
    help = "Say for each server how many organisations are at this code's schema, and how many are behind."

    def run(self, **options: Any) -> dict[str, Any]:
        version = schema_version()
        live = Q(tenants__state__in=LIVE)
        servers = Server.objects.annotate(
            tenant_count=Count("tenants", filter=live),
            current=Count("tenants", filter=live & Q(tenants__schema_version=version)),
        )
        return {
            "schema_version": version,
            "servers": [
                {
                    "server": server.name,
                    "template": "current" if server.template_version == version else "behind",
                    "tenants": server.tenant_count,
                    "current": server.current,
                    "behind": server.tenant_count - server.current,
                }
                for server in servers
            ],
        }

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(f"Schema {facts['schema_version'][:12]}")
        self.table(facts["servers"], empty="No server is registered: name one in TENANT_SERVERS and run prepare.")
