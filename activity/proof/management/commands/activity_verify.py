"""`manage.py activity_verify`: verify a proof file with the public key alone; no database and no secret is needed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from activity.chain.__main__ import facts_of, sentence_of, verify_file
from activity.chain.keys import KeysInvalid
from activity.chain.offline import FileUnreadable
from tenants.management.base import Incomplete, TenantryCommand


class Command(TenantryCommand):
    help = "Verify an exported activity log with the public key alone. Exit code 1 when it isn't valid."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", help="the proof file (NDJSON)")
        parser.add_argument(
            "--public-key",
            action="append",
            required=True,
            help="id:base64, or base64 alone; may be given more than once",
        )

    def run(self, *, file: str, public_key: list[str], **options: Any) -> dict[str, Any]:
        try:
            facts = facts_of(verify_file(file, public_key))
        except (FileUnreadable, KeysInvalid) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{file} can't be read: {error.strerror}.") from None
        if not facts["valid"]:
            raise Incomplete("The log isn't as it was signed.", facts)
        return facts

    def tell(self, facts: dict[str, Any]) -> None:
        self.stdout.write(sentence_of(facts))
