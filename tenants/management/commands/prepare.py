"""`manage.py prepare`: everything that must be there before the processes start."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from tenants.fleet.run import run as run_fleet
from tenants.lifecycle import postgres
from tenants.lifecycle.reap import reap_unfinished
from tenants.lifecycle.registry import seed_servers
from tenants.lifecycle.template import ensure_template
from tenants.management.base import Incomplete, TenantryCommand
from tenants.models import Server
from tenants.servers import control_parameters

# Seconds that one prepare waits for another on the same control database.
WAIT = 600.0


class Command(TenantryCommand):
    help = (
        "Migrate control, put TENANT_SERVERS into the registry, build each server's template, finish what was interrupted, and migrate "
        "the tenants. Safe to repeat, and while the system runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--no-fleet", action="store_true", help="leave the existing tenants to fleet_migrate")

    def run(self, *, no_fleet: bool = False, **options: Any) -> dict[str, Any]:
        with (
            postgres.connect(control_parameters()) as control,
            postgres.advisory_lock(control, "tenantry prepare", timeout=WAIT) as held,
        ):
            if not held:
                raise CommandError("Another prepare is at work on this control database; wait until it is done.")
            return self._prepare(control, no_fleet=no_fleet)

    def _prepare(self, control: postgres.Administrator, *, no_fleet: bool) -> dict[str, Any]:
        call_command("migrate", database="control", interactive=False, run_syncdb=True, skip_checks=True, verbosity=0)
        # A tenant's role has no business here. Who has a right of their own keeps it.
        postgres.execute(control, "REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", control.info.dbname)
        facts: dict[str, Any] = {
            "control": control.info.dbname,
            "servers": seed_servers(),
            "templates": {
                server.name: "built" if ensure_template(server) else "current" for server in Server.objects.all()
            },
            "reaped": reap_unfinished(),
            "migrated": [],
            "failed": {},
        }
        connections["control"].close()
        outcomes = [] if no_fleet else run_fleet()
        facts["migrated"] = [outcome.slug for outcome in outcomes if not outcome.error]
        facts["failed"] = {outcome.slug: outcome.error for outcome in outcomes if outcome.error}
        if facts["failed"]:
            raise Incomplete(f"{len(facts['failed'])} of {len(outcomes)} tenants could not be migrated.", facts)
        return facts

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(f"Migrated the control database {facts['control']}")
        for server, template in facts["templates"].items():
            self.stdout.write(f"Server {server}: template {template}")
        if facts["reaped"]:
            self.stdout.write(f"Removed what was left of {', '.join(facts['reaped'])}")
        if facts["migrated"]:
            self.stdout.write(f"Migrated {len(facts['migrated'])} tenants")
        for slug, error in facts["failed"].items():
            self.stdout.write(f"{slug}: {error}")
