"""A tenant is made whole: its own database, role, first rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction

from tenants import directory
from tenants.context import current_tenant, use_control, use_tenant
from tenants.errors import SlugTaken, TenantNotFound
from tenants.lifecycle.provision import provision_tenant
from tenants.lifecycle.schema import schema_version
from tenants.models import Server, Tenant
from tenants.refs import TenantRef
from tests.lifecycle.conftest import url_of

pytestmark = pytest.mark.usefixtures("control")


def test_its_role_owns_what_is_in_its_database_and_nobody_else_gets_in() -> None:
    ref, _ = provision_tenant(slug="initech", name="Initech")
    with use_tenant(ref), connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
        assert cursor.fetchall() == [(ref.role,)]
        cursor.execute("SELECT datacl::text[] FROM pg_database WHERE datname = current_database()")
        granted = {entry.partition("=")[0] for entry in cursor.fetchone()[0]}
        assert ref.role in granted
        assert "" not in granted, "PUBLIC may connect"
        cursor.execute("CREATE TABLE its_own (id int)")
    assert ref.schema_version == schema_version()
    assert directory.by_slug("initech") == ref


def test_its_role_reaches_no_other_database(committed_tenant: TenantRef) -> None:
    ref, _ = provision_tenant(slug="initech", name="Initech")
    template = Server.objects.get(name="local").template_version[:12]
    with use_control(), connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        control = cursor.fetchone()[0]
    for database in (committed_tenant.database, control, f"tenantry_template_{template}"):
        with pytest.raises(psycopg.OperationalError, match=r"permission denied|not currently accepting"):
            psycopg.connect(url_of(ref, database=database))


def test_populate_runs_inside_the_tenant_before_anybody_finds_it() -> None:
    def populate() -> str:
        assert current_tenant().slug == "initech"
        assert connection.in_atomic_block
        Group.objects.create(name="first")
        tenant = Tenant.objects.get(slug="initech")
        assert tenant.state == Tenant.State.PROVISIONING
        with pytest.raises(TenantNotFound):
            directory.by_id(str(tenant.pk))
        return "populated"

    ref, result = provision_tenant(slug="initech", name="Initech", plan="team", populate=populate)
    assert (ref.state, ref.plan, result) == ("active", "team", "populated")
    with use_tenant(ref):
        assert Group.objects.filter(name="first").exists()
        assert Permission.objects.exists(), "the template's rows are there"


def test_it_is_refused_inside_a_transaction() -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        provision_tenant(slug="initech", name="Initech")
    assert not Tenant.objects.filter(slug="initech").exists()


def test_of_two_sign_ups_for_one_slug_at_once_one_gets_it() -> None:
    start = Barrier(2)

    def sign_up(name: str) -> TenantRef | None:
        with use_control():
            connection.ensure_connection()
            start.wait()
            try:
                return provision_tenant(slug="initech", name=name)[0]
            except SlugTaken:
                return None

    with ThreadPoolExecutor(2) as threads:
        made = [ref for ref in threads.map(sign_up, ["one", "two"]) if ref is not None]
    assert [ref.id for ref in made] == [str(Tenant.objects.get(slug="initech").pk)]


def test_an_administrator_without_superuser_can_make_and_remove_it(managed: Server) -> None:
    ref, group = provision_tenant(
        slug="hooli", name="Hooli", server="managed", populate=lambda: Group.objects.create(name="first")
    )
    with use_tenant(ref):
        assert Group.objects.get() == group
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE its_own (id int)")
