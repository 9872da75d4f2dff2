"""What an async session starts with: the time limits of its plan, its name, and the network's limits, as a session of Django's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tenants.db import aio
from tenants.db.aio.route import route_to
from tenants.db.options import NETWORK_OPTIONS
from tenants.refs import TenantRef
from tests.tenants.async_pools import RunIn, run_in
from tests.tenants.test_limits import on_plan

__all__ = ["run_in"]  # a fixture

SESSION = """
    SELECT current_setting('statement_timeout'), current_setting('transaction_timeout'), current_setting('lock_timeout'),
           current_setting('TimeZone'), current_setting('application_name')
"""


@pytest.mark.parametrize(("plan", "statement", "transaction"), [("free", "5s", "30s"), ("business", "20s", "2min")])
def test_a_session_starts_with_the_limits_of_its_plan(
    committed_tenant: TenantRef, run_in: RunIn, settings: Any, plan: str, statement: str, transaction: str
) -> None:
    settings.TIME_LIMITS = {"stream": {"statement": 10, "lock": 3, "idle_in_transaction": 15, "transaction": 60}}

    async def work() -> tuple[Any, ...]:
        return (await aio.execute(SESSION)).rows[0]

    ref = on_plan(committed_tenant, plan)
    assert run_in(ref, work) == (statement, transaction, "3s", "UTC", f"tenantry-stream {ref.slug}")


def test_a_statement_is_ended_by_its_plans_limit(committed_tenant: TenantRef, run_in: RunIn, settings: Any) -> None:
    """The control: twice the share, and the same statement is done."""
    settings.TIME_LIMITS = {"stream": {"statement": 0.4, "lock": 3, "idle_in_transaction": 15, "transaction": 60}}

    async def work() -> Any:
        try:
            return (await aio.execute("SELECT 1 FROM pg_sleep(0.4)")).rows
        except Exception as error:
            return str(error)

    assert "statement timeout" in run_in(on_plan(committed_tenant, "free"), work)
    assert run_in(on_plan(committed_tenant, "business"), work) == [(1,)]


def test_a_transaction_that_lasts_too_long_is_an_error_that_may_be_tried_again(
    committed_tenant: TenantRef, run_in: RunIn, settings: Any
) -> None:
    settings.TIME_LIMITS = {"stream": {"statement": 10, "lock": 3, "idle_in_transaction": 15, "transaction": 0.2}}

    async def work() -> Any:
        from django.db import OperationalError

        with pytest.raises(OperationalError, match="transaction timeout"):
            async with aio.transaction():
                await aio.execute("SELECT pg_sleep(1)")

    run_in(on_plan(committed_tenant, "team"), work)


def test_it_is_told_the_networks_limits_and_the_tenants_credentials(committed_tenant: TenantRef, run_in: RunIn) -> None:
    async def work() -> dict[str, str]:
        found = (await route_to(committed_tenant.alias))._parameters()
        return {**found, "cursor_factory": found["cursor_factory"].__mro__[0]}

    found = run_in(committed_tenant, work)
    assert found.items() >= NETWORK_OPTIONS.items()
    assert issubclass(found["cursor_factory"], psycopg.AsyncCursor)
    ref = replace(committed_tenant)
    assert (found["dbname"], found["user"], found["password"]) == (ref.database, ref.role, ref.password)
