"""The base of Tenantry's commands: facts for programs or for people, and one sentence on standard error when refused."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from tenants import context
from tenants.errors import TenantNotFound, TenantryError
from tenants.models import Tenant


class Incomplete(CommandError):
    """Raised by a command that did something and failed at the rest: its facts are shown all the same."""

    def __init__(self, message: str, facts: Any) -> None:
        super().__init__(message)
        self.facts = facts


class TenantryCommand(BaseCommand):
    """A command that runs in control. `run` does the work and returns facts, `tell` says them to a person.

    Exit codes: 0 done, 1 refused or failed. From Python, the latter is a CommandError.
    """

    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="write the facts as JSON")

    def run(self, *args: Any, **options: Any) -> Any:
        """Do the work and return facts that JSON can hold. Raises TenantryError, or CommandError, with a sentence."""
        raise NotImplementedError

    def tell(self, facts: Any) -> None:
        """Write the facts for a person."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with context.use_control():
                facts = self.run(**options)
        except Incomplete as incomplete:
            self._show(incomplete.facts, options)
            raise
        except TenantryError as error:
            raise CommandError(error.message) from error
        except (OperationalError, psycopg.OperationalError) as error:
            raise CommandError(f"Postgres refused: {str(error).strip().splitlines()[0]}") from error
        self._show(facts, options)

    def _show(self, facts: Any, options: dict[str, Any]) -> None:
        if options["as_json"]:
            self.stdout.write(json.dumps(facts, default=str))
        elif options["verbosity"] > 0:
            self.tell(facts)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            if not self._called_from_command_line or options.get("traceback"):  # type: ignore[attr-defined]
                raise
            self.stderr.write(str(error))  # the sentence alone, without the class's name that Django puts before it
            sys.exit(error.returncode)

    def table(self, rows: list[dict[str, Any]], empty: str) -> None:
        """Write rows as columns of text."""
        if not rows:
            self.stdout.write(empty)
            return
        cells = [list(rows[0])] + [[str(value) for value in row.values()] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def tenant_of(slug: str) -> Tenant:
    """The tenant of that slug, in whatever state. Raises TenantNotFound."""
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise TenantNotFound(by="slug", value=slug)
    return tenant


def facts_of(tenant: Tenant) -> dict[str, Any]:
    """What a command tells of a tenant."""
    return {
        "slug": tenant.slug,
        "name": tenant.name,
        "state": tenant.state,
        "plan": tenant.plan,
        "server": tenant.server_id,
        "epoch": tenant.epoch,
        "created_at": tenant.created_at.isoformat(timespec="seconds"),
        "id": str(tenant.pk),
    }
