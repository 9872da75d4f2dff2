"""`manage.py tenant_create`: sign-up from a shell."""

from __future__ import annotations

import getpass
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from tenants.management.base import TenantryCommand, facts_of, tenant_of
from tenants.models import Tenant


class Command(TenantryCommand):
    help = "Make an organisation with its database and its owner."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("slug", help="the label of its host name: SLUG.<base domain>")
        parser.add_argument("--name", help="the organisation's name (default: the slug)")
        parser.add_argument("--owner-email", required=True)
        parser.add_argument("--owner-name", default="")
        password = parser.add_mutually_exclusive_group()
        password.add_argument(
            "--owner-password", help="other users of this machine can see it: prefer --owner-password-stdin"
        )
        password.add_argument(
            "--owner-password-stdin", action="store_true", help="read the password from standard input"
        )
        parser.add_argument("--plan", choices=Tenant.Plan.values, default=Tenant.Plan.FREE.value)
        parser.add_argument(
            "--server", help="the server of its database (default: the open one with the fewest tenants)"
        )

    def run(self, *, slug: str, name: str | None, **options: Any) -> dict[str, Any]:
        sign_up = import_string(settings.TENANTS_SIGN_UP)
        try:
            made = sign_up(
                slug=slug,
                name=name or slug,
                owner_email=options["owner_email"],
                owner_name=options["owner_name"],
                owner_password=_password(options),
                plan=options["plan"],
                server=options["server"],
                by_owner=False,
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        return {**facts_of(tenant_of(slug)), "owner": made.owner.email, "sign_in_url": made.sign_in_url}

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(f"Made {facts['slug']} on server {facts['server']}")
        self.stdout.write(f"{facts['owner']} can sign in once, within minutes, at {facts['sign_in_url']}")


def _password(options: dict[str, Any]) -> str:
    if options["owner_password"] is not None:
        return str(options["owner_password"])
    if options["owner_password_stdin"]:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise CommandError("Give the owner's password with --owner-password-stdin.")
    return getpass.getpass("The owner's password: ")
