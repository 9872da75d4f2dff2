"""`python -m activity.chain FILE --public-key KEY`: verify a proof file with nothing but the public key. Exit codes: 0 valid, 1 not."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from activity.chain.keys import KeysInvalid, PublicKeys
from activity.chain.offline import FileUnreadable, Verdict, verify_lines


def verify_file(path: str, public_keys: list[str]) -> Verdict:
    """Verify a file. Raises FileUnreadable, KeysInvalid and OSError, each with a sentence."""
    keys = PublicKeys.parse(public_keys)
    with open(path, "rb") as file:
        return verify_lines(file, keys)


def facts_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON can hold it."""
    facts = asdict(verdict)
    return {
        "valid": facts["first_bad"] is None,
        "checked": facts.pop("checked"),
        "first_bad": facts.pop("first_bad"),
        **facts,
    }


def sentence_of(facts: dict[str, Any]) -> str:
    """A verdict for a person."""
    if facts["valid"]:
        return f"Valid: {facts['checked']:,} events of {facts['tenant']}, {facts['first']} to {facts['last']}, as of {facts['at']}."
    bad = facts["first_bad"]
    what = f" ({bad['id']})" if bad["id"] else ""
    return f"Not valid: event {bad['seq']}{what} is {bad['reason']}. {facts['checked']:,} events before it are as they were signed."


def main() -> int:
    """Verify the file that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m activity.chain", description="Verify an exported activity log.")
    parser.add_argument("file")
    parser.add_argument(
        "--public-key", action="append", required=True, help="id:base64, or base64 alone; may be given more than once"
    )
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    try:
        facts = facts_of(verify_file(options.file, options.public_key))
    except (FileUnreadable, KeysInvalid, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write((json.dumps(facts) if options.as_json else sentence_of(facts)) + "\n")
    return 0 if facts["valid"] else 1


if __name__ == "__main__":
    sys.exit(main())
