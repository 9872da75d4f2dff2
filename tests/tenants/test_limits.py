"""Time limits by kind of process and by plan: they are there when a session starts, and no SET is ever sent."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError, connection

from tenants.context import use_tenant
from tenants.limits import TimeLimits, time_limits
from tenants.refs import TenantRef

EPOCHS = itertools.count()


def test_a_plan_scales_what_takes_time_because_it_is_much(settings: Any) -> None:
    settings.TIME_LIMITS = {"web": {"statement": 10, "lock": 5, "idle_in_transaction": 15, "transaction": 30}}
    settings.PLAN_SHARES = {"free": 0.5, "team": 1.0, "business": 2.0}
    assert time_limits("web", "free") == TimeLimits(5_000, 5_000, 15_000, 15_000)
    assert time_limits("web", "business") == TimeLimits(20_000, 5_000, 15_000, 60_000)
    assert time_limits("web") == time_limits("web", "team") == TimeLimits(10_000, 5_000, 15_000, 30_000)
    assert time_limits("cli", "free") == TimeLimits()


def test_every_plan_of_the_model_and_every_kind_of_process_has_its_numbers(settings: Any) -> None:
    from tenants.models import Tenant

    assert set(settings.PLAN_SHARES) == set(Tenant.Plan.values)
    for process in ("web", "stream", "worker", "beat"):
        limits = time_limits(process, "free")
        assert 0 < limits.statement <= limits.transaction


@pytest.mark.parametrize(("plan", "statement"), [("free", "5s"), ("team", "10s"), ("business", "20s")])
def test_a_session_starts_with_them(
    committed_tenant: TenantRef, django_db_blocker: Any, settings: Any, plan: str, statement: str
) -> None:
    settings.TENANTRY_PROCESS = "web"
    with django_db_blocker.unblock(), use_tenant(on_plan(committed_tenant, plan)):
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == (statement,)
            cursor.execute("SELECT sourcefile, source FROM pg_settings WHERE name = 'transaction_timeout'")
            assert cursor.fetchone() == (None, "client")
        connection.connection.close()


def test_a_transaction_that_lasts_too_long_is_ended_by_the_server(
    committed_tenant: TenantRef, django_db_blocker: Any, settings: Any
) -> None:
    settings.TENANTRY_PROCESS = "web"
    settings.TIME_LIMITS = {"web": {"statement": 10, "lock": 5, "idle_in_transaction": 15, "transaction": 0.2}}
    with (
        django_db_blocker.unblock(),
        use_tenant(on_plan(committed_tenant, "team")),
        pytest.raises(OperationalError, match="transaction timeout"),
        connection.cursor() as cursor,
    ):
        cursor.execute("BEGIN; SELECT pg_sleep(1)")


def on_plan(ref: TenantRef, plan: str) -> TenantRef:
    """The tenant on a plan, at an epoch of its own, so that no connection with other limits is lent to it."""
    return replace(ref, plan=plan, epoch=1000 + next(EPOCHS))


def test_a_change_of_the_plan_is_a_change_of_the_route(tenants: Any, acme: TenantRef) -> None:
    from accounts.control import tenant_get, tenant_update
    from tenants.context import use_control

    with use_control():
        tenant = tenant_get("acme")
        assert tenant_update(tenant=tenant, changes={"name": "Acme & Sons"}).epoch == acme.epoch
        assert tenant_update(tenant=tenant, changes={"plan": "business"}).epoch == acme.epoch + 1
