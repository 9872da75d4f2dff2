"""`manage.py up`: all of Tenantry in the foreground, on servers of its own."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).resolve().parents[3]


class Command(BaseCommand):
    help = (
        "Start everything on this machine: Postgres with a replica, Valkey, MongoDB, web, stream, worker and beat. "
        "Ctrl-C stops all of it; the data stays."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=_port, default=8000, help="web's port; stream takes the next one (default 8000)"
        )
        parser.add_argument(
            "--data", type=Path, default=PROJECT / ".local", help="the folder of all data (default .local)"
        )
        parser.add_argument("--no-demo", action="store_true", help="make no demonstration organisations")

    def handle(self, *, port: int, data: Path, no_demo: bool, **options: Any) -> None:
        try:  # requirements-dev.txt brings what this needs; production has no use for it
            from tenants.devstack.errors import DevstackError
            from tenants.devstack.stack import Stack
        except ModuleNotFoundError as error:
            self.stderr.write(f"`up` needs the packages of requirements-dev.txt ({error.name} is missing).")
            sys.exit(1)

        # Wide enough for a token: the terminal may wrap a line, but nothing of it is cut off.
        console = Console(width=max(Console().width, 160), soft_wrap=True, highlight=False)

        def say(sentence: str) -> None:
            console.print(sentence, markup=False)

        try:
            Stack(data, port=port, with_demo=not no_demo, say=say).run(
                lambda description: _welcome(console, description, data)
            )
        except (DevstackError, OSError) as error:  # a full disk, say
            self.stderr.write(str(error))
            sys.exit(1)
        say("Stopped")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65534:
        raise ArgumentTypeError("must be a number from 1 to 65534")
    return int(text)


def _welcome(console: Console, description: dict[str, Any], data: Path) -> None:
    operator = description["operator"]
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("Sign in at", "e-mail", "password", "API token"):
        table.add_column(column, no_wrap=True, overflow="ignore")
    for tenant in description["tenants"]:
        table.add_row(tenant["url"], tenant["email"], tenant["password"], tenant["token"])
    table.add_row(f"{operator['url']}/admin/", operator["email"], operator["password"], operator["token"])
    console.print()
    console.print(f"Tenantry is up: {description['web']}  (sign up: {description['web']}/signup)", markup=False)
    console.print(f"Live streams:   {description['stream']}", markup=False)
    console.print()
    console.print(table)
    console.print()
    console.print(
        f"Logs: {data.absolute() / 'logs'}   All of this as JSON: {data.absolute() / 'up.json'}", markup=False
    )
    console.print("Ctrl-C stops it.")
