"""`manage.py tenant_run`: any management command, inside a tenant."""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import redirect_stdout
from typing import Any

from django.core.management import ManagementUtility
from django.core.management.base import CommandError

from tenants import context
from tenants.fleet.plan import LIVE
from tenants.management.base import Incomplete, TenantryCommand, tenant_of
from tenants.models import Tenant
from tenants.refs import TenantRef


class Command(TenantryCommand):
    help = "Run a management command inside an organisation: tenant_run [--json] SLUG COMMAND…  or  tenant_run --all COMMAND…"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--all", action="store_true", dest="everywhere", help="in every tenant, one after the other"
        )
        parser.add_argument("slug", metavar="SLUG")
        parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)

    def run(
        self, *, slug: str, command: list[str], everywhere: bool, as_json: bool, **options: Any
    ) -> list[dict[str, Any]]:
        words = [slug, *command] if everywhere else command
        if not words:
            raise CommandError("Name a command to run.")
        refs = [tenant.ref() for tenant in Tenant.objects.filter(state__in=LIVE)] if everywhere else [_live(slug)]
        facts = []
        for ref in refs:
            if everywhere and not as_json:
                self.stdout.write(f"--- {ref.slug}")
                self.stdout.flush()
            facts.append({"tenant": ref.slug, "command": words, **_run(ref, words, captured=as_json)})
        failed = [fact["tenant"] for fact in facts if fact["exit_code"]]
        if failed and (as_json or everywhere):
            raise Incomplete(f"{words[0]} failed in {', '.join(failed)}.", facts)
        if failed:  # the command has said why
            sys.exit(facts[0]["exit_code"])
        return facts

    def tell(self, facts: list[dict[str, Any]]) -> None:
        """The command has said all itself."""


def _live(slug: str) -> TenantRef:
    tenant = tenant_of(slug)
    if tenant.state not in LIVE:
        raise CommandError(f"The organisation {slug!r} is {tenant.state}.")
    return tenant.ref()


def _run(ref: TenantRef, words: list[str], *, captured: bool) -> dict[str, Any]:
    """Run the command as manage.py does and catch its exit code; with `captured` also what it writes."""
    argv = [sys.argv[0], *words]
    output = io.StringIO()
    code = 0
    with context.use(ref), redirect_stdout(output if captured else sys.stdout):
        try:
            ManagementUtility(argv).fetch_command(words[0]).run_from_argv(argv)
        except SystemExit as end:
            code = _exit_code(end)
    return {"exit_code": code, **({"output": output.getvalue()} if captured else {})}


def _exit_code(end: SystemExit) -> int:
    """The code that Python would end with: a sentence in its place is written to standard error, and means 1."""
    if end.code is None or isinstance(end.code, int):
        return int(end.code or 0)
    sys.stderr.write(f"{end.code}\n")
    return 1
