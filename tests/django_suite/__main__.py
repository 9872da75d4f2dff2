"""Run Django's `auth_tests` inside a tenant: `python -m tests.django_suite [LABEL ...]`, in a test run's environment, with DJANGO_TESTS.

Exit code 0: every test passed, but for the deviations, which failed. The last line of standard output has the counts.
"""

from __future__ import annotations

import os
import sys

import django

from tests.django_suite.deviations import DEVIATIONS


def main(labels: list[str]) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_suite.settings"
    sys.path.insert(0, os.environ["DJANGO_TESTS"])
    django.setup()
    from tests.django_suite.runner import TenantRunner

    runner = TenantRunner(interactive=False)
    runner.run_tests(labels or ["auth_tests"])
    outcomes = runner.outcomes

    failed = {test for test, outcome in outcomes.items() if outcome == "failed"}
    expected = DEVIATIONS.keys() if not labels else DEVIATIONS.keys() & outcomes.keys()
    for test in sorted(failed - expected):
        print(f"failed: {test}")
    for test in sorted(expected - failed):
        print(f"is no deviation, it was {outcomes.get(test, 'not found')}: {test}")
    skipped = list(outcomes.values()).count("skipped")
    print(f"{len(outcomes)} tests inside a tenant: {len(failed)} failed, {len(expected)} deviations, {skipped} skipped")
    return int(failed != expected)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
