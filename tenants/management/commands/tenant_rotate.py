"""`manage.py tenant_rotate`: a new password for a tenant's Postgres role."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from tenants.lifecycle.credentials import rotate_credentials
from tenants.management.base import TenantryCommand, facts_of, tenant_of


class Command(TenantryCommand):
    help = "Give an organisation's Postgres role a new password, while it works. Repeat it after an interruption."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("slug")

    def run(self, *, slug: str, **options: Any) -> dict[str, Any]:
        rotate_credentials(tenant_of(slug).ref())
        return facts_of(tenant_of(slug))

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(f"Rotated the credentials of {facts['slug']}; its route has epoch {facts['epoch']}")
