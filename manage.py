#!/usr/bin/env python
"""Django's command line, run inside the control database's context (`tenant_run` enters a tenant)."""

import os
import sys


def main() -> None:
    # These two must run where the environment isn't complete.
    bare = sys.argv[1:2] in (["up"], ["doctor"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings_bare" if bare else "config.settings")
    os.environ.setdefault("TENANTRY_PROCESS", "cli")
    from django.core.management import execute_from_command_line

    from tenants.context import use_control

    with use_control():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
