"""`manage.py tenant_delete`: a tenant and all that it has, for good."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from tenants.errors import TenantBusy, TenantNotFound, TenantryError
from tenants.lifecycle.offboard import delete_tenant
from tenants.management.base import TenantryCommand, facts_of, tenant_of


class Command(TenantryCommand):
    help = "Delete an organisation with its database, files and activity. There is no way back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("slug")
        parser.add_argument("--yes", action="store_true", help="don't ask for the slug again")

    def run(self, *, slug: str, yes: bool = False, **options: Any) -> dict[str, Any]:
        tenant = tenant_of(slug)
        if not yes and _typed(slug) != slug:
            raise CommandError("That is not its slug; nothing was deleted.")
        try:
            delete_tenant(tenant.ref())
        except (TenantBusy, TenantNotFound):
            raise
        except TenantryError as error:
            raise CommandError(
                f"{error.message} {slug} is no longer served; the rest is removed once that is over."
            ) from error
        return {**facts_of(tenant), "state": "deleted"}

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(f"Deleted {facts['slug']}")


def _typed(slug: str) -> str:
    try:
        return input(f"Deletes {slug} with all its data. Type its slug to go on: ").strip()
    except EOFError:
        raise CommandError("Give --yes to delete without being asked.") from None
