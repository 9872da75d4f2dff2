"""A tenant that is taken out of service, for a while or for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError

from tenants import directory
from tenants.context import use_tenant
from tenants.errors import TenantNotFound
from tenants.lifecycle.offboard import delete_tenant, resume_tenant, suspend_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.models import Tenant
from tenants.refs import TenantRef
from tenants.signals import tenant_deleted, tenant_state_changed
from tenants.valkey import redis_client
from tests.lifecycle.conftest import url_of

pytestmark = pytest.mark.usefixtures("control")


@pytest.fixture
def initech(control: None) -> TenantRef:
    return provision_tenant(slug="initech", name="Initech")[0]


def test_deleted_it_leaves_nothing_behind(
    initech: TenantRef, exists: Callable[[str], tuple[bool, bool]], settings: Any
) -> None:
    heard = []
    with use_tenant(initech):
        default_storage.save("logo.txt", ContentFile(b"logo"))
        cache.set("greeting", "hello")
    tenant_deleted.connect(lambda tenant, **_: heard.append(tenant.id), weak=False, dispatch_uid="heard")
    try:
        delete_tenant(initech)
    finally:
        tenant_deleted.disconnect(dispatch_uid="heard")
    assert heard == [initech.id]
    assert exists(initech.database) == (False, False)
    assert not (settings.MEDIA_ROOT / initech.id).exists()
    assert not list(redis_client().scan_iter(match=f"{initech.id}:*"))
    with pytest.raises(TenantNotFound):
        directory.by_slug("initech")
    with pytest.raises(TenantNotFound):
        delete_tenant(initech)


def test_deleted_it_ends_whoever_is_connected(initech: TenantRef) -> None:
    session = psycopg.connect(url_of(initech))
    delete_tenant(initech)
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    with use_tenant(initech), pytest.raises(OperationalError):
        Group.objects.count()


def test_its_slug_used_again_is_another_tenant(initech: TenantRef) -> None:
    delete_tenant(initech)
    again, _ = provision_tenant(slug="initech", name="Initech")
    assert again.id != initech.id
    assert again.database != initech.database
    assert directory.by_slug("initech") == again


def test_suspended_and_resumed_it_changes_its_route(initech: TenantRef) -> None:
    heard: list[tuple[str, str]] = []
    tenant_state_changed.connect(
        lambda tenant, former, **_: heard.append((former, tenant.state)), weak=False, dispatch_uid="heard"
    )
    try:
        suspended = suspend_tenant(initech)
        assert suspend_tenant(suspended) == suspended
        resumed = resume_tenant(suspended)
    finally:
        tenant_state_changed.disconnect(dispatch_uid="heard")
    assert (suspended.state, resumed.state) == ("suspended", "active")
    assert (initech.epoch, suspended.epoch, resumed.epoch) == (1, 2, 3)
    assert directory.by_slug("initech") == resumed
    assert heard == [("active", "suspended"), ("suspended", "active")]


def test_a_state_change_that_can_not_be_recorded_is_not_made(initech: TenantRef) -> None:
    def refuse(**arguments: object) -> None:
        raise ConnectionError

    tenant_state_changed.connect(refuse)
    try:
        with pytest.raises(ConnectionError):
            suspend_tenant(initech)
    finally:
        tenant_state_changed.disconnect(refuse)
    assert Tenant.objects.get(slug="initech").state == Tenant.State.ACTIVE
