#!/usr/bin/env python
"""Django's command line, run inside the control database's context (`tenant_run` enters a tenant)."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] in (["up"], ["doctor"]):  # they must run where the environment isn't complete
        os.environ["TENANTRY_SETTINGS"] = os.environ["DJANGO_SETTINGS_MODULE"]
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings_bare"
    os.environ.setdefault("TENANTRY_PROCESS", "cli")
    from django.core.management import execute_from_command_line

    from tenants.context import use_control

    with use_control():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
