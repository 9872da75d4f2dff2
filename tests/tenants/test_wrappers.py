"""Django's wrapper of a tenant: made anew at each entry, dead after it, and no round trip dearer than the queries themselves."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction
from pytest_django import DjangoDbBlocker

from accounts.models import User
from tenants.context import use_control, use_tenant
from tenants.db.base import DatabaseWrapper, settings_for
from tenants.db.measured import measure
from tenants.db.pools import Endpoint, pool_of
from tenants.errors import CrossTenant, NoTenant
from tenants.refs import TenantRef
from tests.proxy import Proxy
from tests.tenants.conftest import primary_url


@pytest.fixture
def ref(committed_tenant: TenantRef, django_db_blocker: DjangoDbBlocker) -> Iterator[TenantRef]:
    with django_db_blocker.unblock():
        yield committed_tenant


def keep_a_wrapper(ref: TenantRef) -> DatabaseWrapper:
    with use_tenant(ref):
        wrapper = connections["default"]
        wrapper.ensure_connection()
    assert isinstance(wrapper, DatabaseWrapper)
    return wrapper


def test_nothing_of_one_entry_is_there_in_the_next(ref: TenantRef) -> None:
    with use_tenant(ref):
        first = connections["default"]
        first.force_debug_cursor = True
        first.execute_wrappers.append(lambda execute, *words: execute(*words))
        with transaction.atomic():
            transaction.on_commit(lambda: None)
            User.objects.first()
            transaction.set_rollback(True)
        assert first.queries_log
    with use_tenant(ref):
        second = connections["default"]
        assert second is not first
        assert (list(second.queries_log), second.run_on_commit, second.execute_wrappers) == ([], [], [measure])
        assert (second.in_atomic_block, second.savepoint_ids, second.force_debug_cursor) == (False, [], False)


def test_a_wrapper_that_was_kept_opens_nothing_outside_its_tenant(ref: TenantRef) -> None:
    wrapper = keep_a_wrapper(ref)
    with pytest.raises(NoTenant):
        wrapper.cursor()
    with use_control(), pytest.raises(CrossTenant):
        wrapper.cursor()


def test_control_without_that_check_it_reaches_the_tenant(ref: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseWrapper, "_check_active", lambda self: None)
    wrapper = keep_a_wrapper(ref)
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (ref.database,)
    wrapper.close()


def test_a_get_in_a_tenant_is_one_round_trip(ref: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(primary_url()) as proxy:
        endpoint = Endpoint(name="proxied", host="127.0.0.1", port=proxy.port)
        settings = settings_for(
            name=ref.database, user=ref.role, password=ref.password, endpoint=endpoint, application="wire"
        )
        monkeypatch.setattr(
            "tenants.db.tenant.tenant_wrapper", lambda ref, alias: DatabaseWrapper(dict(settings), alias, endpoint)
        )
        monkeypatch.setattr("tenants.db.routes.primary_endpoint", lambda server: endpoint)
        with use_tenant(ref):
            connection.ensure_connection()
        before = proxy.sent
        for _ in range(10):
            with use_tenant(ref):
                assert not User.objects.filter(pk=uuid.uuid4()).exists()
        assert proxy.sent - before == 10
        pool_of(endpoint).drop_idle()
