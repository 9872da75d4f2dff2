"""`manage.py doctor`: what is wrong with this environment, and what to do about it."""

from __future__ import annotations

import dataclasses
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.text import Text

from tenants.doctor.examination import examine
from tenants.doctor.finding import Finding

SIGNS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("FAILED", "bold red")}


class Command(BaseCommand):
    help = "Check this environment and say what to do about what isn't right. Exits with 1 when a check fails."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, **options: Any) -> None:
        findings = []
        console = Console(soft_wrap=True, highlight=False)
        for finding in examine():
            findings.append(finding)
            if not options["json"]:
                _print(console, finding)
        failed = sum(finding.state == "failed" for finding in findings)
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {"ok": not failed, "findings": [dataclasses.asdict(finding) for finding in findings]}, indent=1
                )
            )
        if failed:
            self.stderr.write("1 check failed." if failed == 1 else f"{failed} checks failed.")
            sys.exit(1)


def _print(console: Console, finding: Finding) -> None:
    word, style = SIGNS[finding.state]
    console.print(Text(f"{word:8}", style=style) + Text(f"{finding.check}: {finding.found}", style="default"))
    if finding.advice:
        console.print(Text(f"{'':8}{finding.advice}", style="dim"))
