"""Migration of all tenants: what is behind is migrated, one that fails stops no other."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext
from psycopg import sql

from tenants.context import use_control, use_tenant
from tenants.fleet.plan import plan
from tenants.fleet.run import Outcome, run
from tenants.lifecycle import schema
from tenants.lifecycle.offboard import suspend_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.models import Tenant
from tenants.refs import TenantRef
from tests.lifecycle.conftest import url_of

pytestmark = pytest.mark.usefixtures("control")


@pytest.fixture
def behind(control: None) -> list[TenantRef]:
    """Two tenants of another schema version, by the registry's word."""
    refs = [provision_tenant(slug=slug, name=slug)[0] for slug in ("hooli", "initech")]
    Tenant.objects.filter(pk__in=[ref.id for ref in refs]).update(schema_version="former")
    return refs


def test_nothing_to_do_is_one_query() -> None:
    version = schema.schema_version()
    connections["control"].ensure_connection()
    with CaptureQueriesContext(connections["control"]) as queries:
        assert plan(version) == []
    assert len(queries) == 1


def test_suspended_tenants_are_migrated_too(behind: list[TenantRef]) -> None:
    suspend_tenant(behind[0])
    assert [(outcome.slug, outcome.error) for outcome in run()] == [("hooli", ""), ("initech", "")]
    assert run() == []


def test_one_that_fails_stops_no_other_and_is_tried_again(
    behind: list[TenantRef], postgres: psycopg.Connection[Any]
) -> None:
    told: list[Outcome] = []
    role = sql.Identifier(behind[0].role)
    postgres.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(role))
    outcomes = run(on_progress=told.append)
    assert told == outcomes
    assert [(outcome.slug, bool(outcome.error)) for outcome in outcomes] == [("hooli", True), ("initech", False)]
    assert "not permitted to log in" in outcomes[0].error
    postgres.execute(sql.SQL("ALTER ROLE {} LOGIN").format(role))
    assert [(outcome.slug, outcome.error) for outcome in run()] == [("hooli", "")]


def test_it_waits_for_no_lock_for_long(behind: list[TenantRef]) -> None:
    ref = behind[0]
    with psycopg.connect(url_of(ref)) as holder:
        holder.execute("LOCK TABLE django_content_type IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with use_tenant(ref):
            with connection.cursor() as cursor:
                cursor.execute("SHOW lock_timeout")
                former = cursor.fetchone()
            with pytest.raises(OperationalError, match="lock timeout"):
                schema.migrate(lock_timeout=0.1)
            with connection.cursor() as cursor:
                cursor.execute("SHOW lock_timeout")
                assert cursor.fetchone() == former, "the next borrower of this session doesn't get ours"
        assert time.monotonic() - started < 30


def test_one_deleted_after_the_plan_is_passed_over(behind: list[TenantRef]) -> None:
    Tenant.objects.filter(slug="initech").update(state=Tenant.State.DELETING)
    with use_control():
        assert [ref.slug for ref in plan(schema.schema_version())] == ["hooli"]
