"""Entering and leaving tenants, and what code without one can reach: nothing."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction
from django.http import StreamingHttpResponse
from pytest_django import DjangoDbBlocker

from tenants import context
from tenants.context import current, current_tenant, use_control, use_tenant
from tenants.errors import NoTenant, TenantSwitchRefused
from tenants.models import Tenant
from tenants.refs import CONTROL, TenantRef


def database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return str(cursor.fetchone()[0])


def test_default_is_the_active_tenants_primary(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        assert (database(), current_tenant()) == (acme.database, acme)
    with use_tenant(globex):
        assert database() == globex.database
    with use_control():
        assert current() is CONTROL


def test_a_bare_atomic_acts_on_the_active_tenant(acme: TenantRef, globex: TenantRef) -> None:
    def fail() -> None:
        with transaction.atomic():
            Group.objects.create(name="rolled back")
            raise KeyError

    with use_tenant(acme), pytest.raises(KeyError):
        fail()
    for ref in (acme, globex):
        with use_tenant(ref):
            assert not Group.objects.exists()


def test_entering_the_active_tenant_again_is_free(acme: TenantRef) -> None:
    with use_tenant(acme), transaction.atomic(), use_tenant(acme):
        assert current() is acme


def test_leaving_gives_the_former_one_back(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        with use_tenant(globex):
            assert current() is globex
        assert current() is acme
    assert context.active() is None


def test_switching_inside_a_transaction_is_refused(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme), transaction.atomic(), pytest.raises(TenantSwitchRefused, match=r"Leave transaction\.atomic"):
        use_tenant(globex).__enter__()


def test_leaving_inside_a_transaction_is_refused_and_rolls_it_back(
    committed_tenant: TenantRef, django_db_blocker: DjangoDbBlocker
) -> None:
    atomic = transaction.atomic()

    def leave() -> None:
        with use_tenant(committed_tenant):
            atomic.__enter__()
            Group.objects.create(name="left open")

    with django_db_blocker.unblock():
        with pytest.raises(TenantSwitchRefused):
            leave()
        assert context.active() is None
        with pytest.raises(NoTenant):
            atomic.__exit__(None, None, None)
        with use_tenant(committed_tenant):
            assert not connection.in_atomic_block
            assert not Group.objects.filter(name="left open").exists()


def carriers_without_a_tenant() -> dict[str, object]:
    def in_thread() -> None:
        raised: list[Exception] = []

        def work() -> None:
            try:
                Group.objects.count()
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        raise raised[0]

    def in_streaming_response() -> None:
        def body():
            yield str(Group.objects.count())

        list(StreamingHttpResponse(body()))

    def in_task() -> None:
        from tests.tenants.tasks import count_groups

        count_groups.apply(throw=True)

    return {
        "a query": Group.objects.count,
        "a bare cursor": lambda: connection.cursor().execute("SELECT 1"),
        "atomic()": lambda: transaction.atomic().__enter__(),
        "on_commit": lambda: transaction.on_commit(lambda: None),
        "using default": lambda: Group.objects.using("default").count(),
        "saving": lambda: Group(name="x").save(),
        "a thread": in_thread,
        "a streaming response": in_streaming_response,
        "a task": in_task,
    }


@pytest.mark.parametrize("carrier", carriers_without_a_tenant())
def test_code_without_a_tenant_raises(carrier: str, acme: TenantRef) -> None:
    with pytest.raises(NoTenant):
        carriers_without_a_tenant()[carrier]()  # type: ignore[operator]


def test_a_thread_of_a_tenant_starts_without_one(tenant: TenantRef) -> None:
    with pytest.raises(NoTenant):
        carriers_without_a_tenant()["a thread"]()  # type: ignore[operator]


def test_another_tenants_alias_reaches_nothing(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme), pytest.raises(ValueError, match="belongs to another tenant"):
        connections[globex.alias].cursor()
    with pytest.raises(NoTenant):
        connections[acme.alias].cursor()


def test_a_model_of_a_tenants_apps_alone_has_no_place_in_control(acme: TenantRef) -> None:
    from taggit.models import Tag

    with use_control(), pytest.raises(NoTenant):
        Tag.objects.count()


def test_the_registry_is_in_control_whoever_is_active(acme: TenantRef) -> None:
    for ref in (acme, CONTROL):
        with context.use(ref):
            assert Tenant.objects.get(slug="acme")._state.db == "control"


def test_the_unbound_default_answers_questions_about_the_engine() -> None:
    assert connection.ops.quote_name("a") == '"a"'
    assert connection.features.supports_nulls_distinct_unique_constraints
    assert str(Group.objects.filter(name="x").query).startswith("SELECT")


def test_a_body_bound_to_a_tenant_runs_in_it_and_leaves_the_consumer_alone(acme: TenantRef, globex: TenantRef) -> None:
    def body():
        for _ in range(2):
            yield current().slug, Group.objects.count()

    seen = []
    for item in context.bound(acme, body()):
        seen.append(item)
        assert context.active() is None
    assert seen == [("acme", 0), ("acme", 0)]
