"""`manage.py tenant_suspend`: stop serving a tenant."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from tenants.lifecycle.offboard import suspend_tenant
from tenants.management.base import TenantryCommand, facts_of, tenant_of


class Command(TenantryCommand):
    help = "Stop serving an organisation: its hosts answer 403 within a second. Nothing is lost."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("slug")

    def run(self, *, slug: str, **options: Any) -> dict[str, Any]:
        suspend_tenant(tenant_of(slug).ref())
        return facts_of(tenant_of(slug))

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(f"Suspended {facts['slug']}")
