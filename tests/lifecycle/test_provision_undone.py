"""A tenant that can't be made whole is not made at all: no row, no database, no role, wherever it failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection

from tenants.context import current_tenant
from tenants.devstack.postgres import Primary
from tenants.errors import ProvisioningFailed
from tenants.lifecycle.provision import provision_tenant
from tenants.lifecycle.template import ensure_template
from tenants.models import Server, Tenant
from tenants.servers import forget_servers
from tenants.valkey import redis_client

pytestmark = pytest.mark.usefixtures("control")

Exists = Callable[[str], tuple[bool, bool]]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_when_populate_raises(exists: Exists, failure: type[BaseException], settings: Any) -> None:
    begun = []

    def populate() -> None:
        begun.append(current_tenant())
        Group.objects.create(name="first")
        default_storage.save("logo.txt", ContentFile(b"logo"))
        cache.set("greeting", "hello")
        raise failure("the owner's address is wrong")

    with pytest.raises(failure, match="address"):
        provision_tenant(slug="initech", name="Initech", populate=populate)
    (ref,) = begun
    assert not Tenant.objects.filter(slug="initech").exists()
    assert exists(ref.database) == (False, False)
    assert not (settings.MEDIA_ROOT / ref.id).exists()
    assert not list(redis_client().scan_iter(match=f"{ref.id}:*"))
    provision_tenant(slug="initech", name="Initech")


def test_when_the_database_refuses_at_commit(exists: Exists) -> None:
    begun = []

    def populate() -> None:
        begun.append(current_tenant())
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE pair (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            cursor.execute("INSERT INTO pair VALUES (1), (1)")

    with pytest.raises(IntegrityError):
        provision_tenant(slug="initech", name="Initech", populate=populate)
    assert exists(begun[0].database) == (False, False)
    assert not Tenant.objects.filter(slug="initech").exists()


def test_when_the_server_takes_no_further_connection(managed: Server, second_postgres: Primary) -> None:
    ensure_template(managed)
    second_postgres.execute("ALTER ROLE managed CONNECTION LIMIT 1")
    try:
        with pytest.raises(ProvisioningFailed) as failed:
            provision_tenant(slug="initech", name="Initech", server="managed")
    finally:
        second_postgres.execute("ALTER ROLE managed CONNECTION LIMIT -1")
    assert failed.value.step == "handing the database over"
    assert not Tenant.objects.filter(slug="initech").exists()
    assert not second_postgres.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE 'tenantry!_t!_%%' ESCAPE '!'"
    )
    assert not second_postgres.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenantry!_t!_%%' ESCAPE '!'")


def test_when_the_server_does_not_answer(managed: Server) -> None:
    managed.url = "postgres://managed:managed@127.0.0.1:1/postgres"
    managed.save()
    forget_servers()  # or it takes two seconds
    with pytest.raises(ProvisioningFailed) as failed:
        provision_tenant(slug="initech", name="Initech", server="managed")
    assert failed.value.step == "connecting to the server"
    assert not Tenant.objects.filter(slug="initech").exists()


def test_when_no_server_is_open() -> None:
    with pytest.raises(ProvisioningFailed, match="open for new tenants"):
        provision_tenant(slug="initech", name="Initech", server="nowhere")
