"""`manage.py tenant_list`: all tenants."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from tenants.management.base import TenantryCommand, facts_of
from tenants.models import Tenant


class Command(TenantryCommand):
    help = "List the organisations by slug."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--state", choices=Tenant.State.values, help="those in one state alone")

    def run(self, *, state: str | None = None, **options: Any) -> list[dict[str, Any]]:
        tenants = Tenant.objects.defer("encrypted_password")
        return [facts_of(tenant) for tenant in (tenants.filter(state=state) if state else tenants).iterator()]

    def tell(self, facts: list[dict[str, Any]]) -> None:
        self.table(facts, empty="There is no tenant.")
