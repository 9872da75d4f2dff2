#!/usr/bin/env python
"""Django's command line, run inside the control database's context (`tenant_run` enters a tenant)."""

import json
import os
import sys
from pathlib import Path


def use_environment_of_up() -> None:
    """Let commands mean the system that `up` runs (or ran) in DATA_DIR, when the terminal names no databases."""
    if "CONTROL_DATABASE_URL" in os.environ or "CONTROL_DATABASE_URL_FILE" in os.environ:
        return
    left_by_up = Path(os.environ.get("DATA_DIR", Path(__file__).parent / ".local"), "environment.json")
    if left_by_up.exists():
        for name, value in json.loads(left_by_up.read_text()).items():
            os.environ.setdefault(name, value)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] in (["up"], ["doctor"], ["activity_verify"]):  # they must run where the environment isn't complete
        os.environ["TENANTRY_SETTINGS"] = os.environ["DJANGO_SETTINGS_MODULE"]
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings_bare"
    else:
        use_environment_of_up()
    os.environ.setdefault("TENANTRY_PROCESS", "cli")
    from django.core.management import execute_from_command_line

    from tenants.context import use_control

    with use_control():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
