"""Django's test runner, in a tenant: its database is provisioned as any tenant's, and the tests run with it entered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest import TestCase, TestResult, TestSuite

from django.conf import settings
from django.core.management import call_command
from django.test.runner import DiscoverRunner

from tenants import context, directory
from tenants.db.urls import database
from tenants.errors import TenantNotFound
from tenants.lifecycle import postgres
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tests.django_suite import other

SLUG = "django"


class TenantRunner(DiscoverRunner):
    """Runs tests inside a new tenant, which is deleted after them. `outcomes` tells of each test: passed, failed or skipped."""

    outcomes: dict[str, str]

    def setup_databases(self, **kwargs: Any) -> ExitStack:
        create_databases()
        call_command("prepare", no_fleet=True, verbosity=0)
        call_command("migrate", database=other.ALIAS, run_syncdb=True, verbosity=0)
        delete_left_tenant()
        ref, _ = provision_tenant(slug=SLUG, name="Django")
        stack = ExitStack()
        stack.callback(delete_tenant, ref)
        stack.enter_context(context.use_tenant(ref))
        return stack

    def teardown_databases(self, old_config: ExitStack, **kwargs: Any) -> None:
        old_config.close()

    def run_suite(self, suite: TestSuite, **kwargs: Any) -> TestResult:
        ids = [test.id() for test in tests_of(suite)]  # before the run, in which the suite lets go of its tests
        result = super().run_suite(suite, **kwargs)
        self.outcomes = outcomes_of(ids, result)
        return result


def create_databases() -> None:
    """Make the control database, unless an earlier run left it, and `other` anew."""
    control, second = (settings.DATABASES[alias]["NAME"] for alias in ("control", other.ALIAS))
    with postgres.connect(database(settings.TENANT_SERVERS["local"]["primary"])) as admin:
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", [control]).fetchone() is None:
            postgres.execute(admin, "CREATE DATABASE {}", control)
        postgres.database_drop(admin, second)
        postgres.execute(admin, "CREATE DATABASE {}", second)


def delete_left_tenant() -> None:
    """Delete the tenant of an earlier run that was killed."""
    try:
        ref = directory.by_slug(SLUG)
    except TenantNotFound:
        return
    delete_tenant(ref)


def tests_of(suite: TestSuite) -> Iterator[TestCase]:
    """The tests of a suite and of the suites in it."""
    for test in suite:
        if isinstance(test, TestSuite):
            yield from tests_of(test)
        else:
            yield test


def outcomes_of(ids: list[str], result: TestResult) -> dict[str, str]:
    """The outcome of each test. One whose class or module couldn't be set up has failed; so has one with a failed subtest."""
    outcomes = dict.fromkeys(ids, "passed")

    def note(test: Any, outcome: str) -> None:
        id_ = getattr(test, "test_case", test).id()  # of a subtest: the test that it belongs to
        set_up = re.fullmatch(r"(?:setUp|tearDown)(?:Class|Module) \((.+)\)", id_)
        for affected in [each for each in ids if each.startswith(f"{set_up[1]}.")] if set_up else [id_]:
            outcomes[affected] = outcome

    for test, _ in result.skipped:
        note(test, "skipped")
    for test, _ in [*result.failures, *result.errors]:
        note(test, "failed")
    for test in result.unexpectedSuccesses:
        note(test, "failed")
    return outcomes
