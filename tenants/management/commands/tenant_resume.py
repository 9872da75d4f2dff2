"""`manage.py tenant_resume`: serve a suspended tenant again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from tenants.lifecycle.offboard import resume_tenant
from tenants.management.base import TenantryCommand, facts_of, tenant_of


class Command(TenantryCommand):
    help = "Serve a suspended organisation again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("slug")

    def run(self, *, slug: str, **options: Any) -> dict[str, Any]:
        resume_tenant(tenant_of(slug).ref())
        return facts_of(tenant_of(slug))

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(f"Resumed {facts['slug']}")
