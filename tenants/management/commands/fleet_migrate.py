"""`manage.py fleet_migrate`: every tenant to this code's schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tenants.fleet.run import Outcome, run
from tenants.management.base import Incomplete, TenantryCommand


class Command(TenantryCommand):
    help = "Migrate every organisation that isn't at this code's schema. One that fails stops no other; run it again to go on."

    def run(self, *, as_json: bool = False, verbosity: int = 1, **options: Any) -> list[dict[str, Any]]:
        def show(outcome: Outcome) -> None:
            if not as_json and verbosity > 0:
                self.stdout.write(f"{outcome.slug}: {outcome.error or 'migrated'} ({outcome.seconds:.1f} s)")

        outcomes = run(on_progress=show)
        facts = [asdict(outcome) for outcome in outcomes]
        failed = [outcome for outcome in outcomes if outcome.error]
        if failed:
            raise Incomplete(f"{len(failed)} of {len(outcomes)} tenants could not be migrated.", facts)
        return facts

    def tell(self, facts: list[dict[str, Any]]) -> None:
        migrated = sum(not fact["error"] for fact in facts)
        self.stdout.write(f"Migrated {migrated} tenants" if facts else "Every tenant is at this schema")
