"""Queries that are compiled once and kept by the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, connections
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from psycopg.pq import Format

from accounts.models import ApiToken, User
from tenants.context import use_tenant
from tenants.db.prepared import PREPARE_AFTER, Param, PreparingCursor, prepared
from tenants.refs import TenantRef


@prepared
def _named(limit: int, *, with_role: bool = False) -> QuerySet[User, Any]:
    found = User.objects.filter(name__icontains=Param("name"))
    if with_role:
        found = found.filter(role=Param("role"))
    return found.order_by("email").values("email", "created_at", "id")[:limit]


@prepared
def _tokens() -> QuerySet[ApiToken]:
    return ApiToken.objects.select_related("user").filter(name=Param("name"))


def _kept_by_server() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return {text for (text,) in cursor.fetchall()}


def test_rows_are_those_of_the_queryset(tenant: TenantRef) -> None:
    for name in ("Ann", "annika", "Bob"):
        User.objects.create_user(f"{name.lower()}@acme.example", name=name)
    plain = User.objects.filter(name__icontains="ann").order_by("email").values("email", "created_at", "id")
    assert _named(10).dicts(name="ann") == list(plain)
    assert _named(1).dicts(name="ann") == list(plain[:1])
    assert _named(10).dicts(name="%") == []  # a value is a value, and no pattern
    assert _named(10, with_role=True).dicts(name="ann", role="owner") == []


def test_instances_are_those_of_the_queryset_with_what_they_point_at(tenant: TenantRef) -> None:
    user = User.objects.create_user("ann@acme.example")
    made = ApiToken.objects.create(user=user, name="x", prefix="tnt_", token_hash="h", scopes=["read", "tokens.read"])
    (found,) = _tokens().instances(name="x")
    fields = [field.attname for field in ApiToken._meta.concrete_fields]
    assert [getattr(found, name) for name in fields] == [getattr(made, name) for name in fields]
    with CaptureQueriesContext(connection) as queries:
        assert found.user == user
    assert len(queries) == 0
    assert found._state.db == found.user._state.db == tenant.alias
    assert _tokens().instances(name="y") == []


def test_the_server_keeps_what_runs_often_and_no_value_of_it(tenant: TenantRef) -> None:
    before = _kept_by_server()
    for number in range(PREPARE_AFTER + 3):
        _named(17).dicts(name=f"value {number}")
        list(
            User.objects.filter(name="value")
        )  # Django's own cursors write values into the text: nothing is kept of those
    assert len(_kept_by_server() - before) == 1
    assert not any("value" in text for text in _kept_by_server())


def test_one_text_serves_every_tenant_from_its_own_database(acme: TenantRef, globex: TenantRef) -> None:
    for ref in (acme, globex):
        with use_tenant(ref):
            User.objects.create_user(f"ann@{ref.slug}.example", name="Ann")
    for ref in (acme, globex, acme):
        with use_tenant(ref):
            assert [row["email"] for row in _named(5).dicts(name="ann")] == [f"ann@{ref.slug}.example"]


def test_who_counts_queries_sees_it(tenant: TenantRef) -> None:
    with CaptureQueriesContext(connection) as queries:
        _named(5).dicts(name="ann")
    assert len(queries) == 1


@pytest.fixture
def changed_column(committed_tenant: TenantRef, django_db_blocker: Any) -> Iterator[None]:
    """Inside the tenant, where the query is kept by the server and another process's migration has changed its column since."""
    alter = "ALTER TABLE accounts_user ALTER email TYPE varchar(%s)"
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        for _ in range(PREPARE_AFTER + 2):
            _named(3).dicts(name="ann")
        other = connections[connection.alias].copy()
        try:
            with other.cursor() as cursor:
                cursor.execute(alter, [300])
            yield
        finally:
            with other.cursor() as cursor:
                cursor.execute(alter, [254])
            other.close()


def test_control_a_changed_column_breaks_what_the_server_keeps(changed_column: None) -> None:
    native = PreparingCursor(connection.connection)
    native.format = Format.BINARY
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
        native.execute(_named(3).sql, ["ann"])


def test_after_a_changed_column_the_server_plans_anew(changed_column: None) -> None:
    assert _named(3).dicts(name="nobody of this name") == []
