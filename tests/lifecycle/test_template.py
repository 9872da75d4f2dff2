"""The template database of a server: whole or not there, and built once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection

from tenants.context import use_control, use_tenant
from tenants.devstack.postgres import Primary
from tenants.lifecycle.provision import provision_tenant
from tenants.lifecycle.schema import schema_version
from tenants.lifecycle.template import OWNER, ensure_template, template_name
from tenants.models import Server

TEMPLATES = (
    "SELECT datname, datistemplate, datallowconn FROM pg_database WHERE starts_with(datname, 'tenantry_template')"
)


@pytest.fixture
def bare(managed: Server, second_postgres: Primary) -> Server:
    """The server without a template."""
    for (name,) in second_postgres.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, 'tenantry_template')"
    ):
        second_postgres.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
        second_postgres.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    return managed


def test_it_lets_nobody_connect_and_neither_does_its_owner(bare: Server, second_postgres: Primary) -> None:
    assert ensure_template(bare)
    name = template_name(schema_version())
    assert second_postgres.execute(TEMPLATES) == [(name, True, False)]
    assert second_postgres.execute("SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s", OWNER) == [
        (False, None)
    ]
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(second_postgres.url_of(name))


def test_of_processes_that_want_it_at_once_one_builds_it(bare: Server) -> None:
    start = Barrier(3)

    def ensure(_: int) -> bool:
        with use_control():
            connection.ensure_connection()
            start.wait()
            return ensure_template(Server.objects.get(pk=bare.pk))

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(ensure, range(3))) == [False, False, True]


def test_what_a_killed_build_left_is_built_again(bare: Server, second_postgres: Primary) -> None:
    second_postgres.execute(f'CREATE DATABASE "{template_name(schema_version())}" OWNER managed')
    assert ensure_template(bare)
    provision_tenant(
        slug="initech", name="Initech", server="managed", populate=lambda: Group.objects.create(name="first")
    )


def test_one_that_was_lost_is_built_by_the_next_sign_up(managed: Server, bare: Server) -> None:
    Server.objects.filter(pk=managed.pk).update(template_version=schema_version())
    ref, _ = provision_tenant(slug="initech", name="Initech", server="managed")
    with use_tenant(ref):
        assert not Group.objects.exists()


def test_a_failed_build_leaves_no_database(bare: Server, second_postgres: Primary) -> None:
    second_postgres.execute("ALTER ROLE managed CONNECTION LIMIT 1")
    try:
        with pytest.raises(Exception, match="too many connections"):
            ensure_template(bare)
    finally:
        second_postgres.execute("ALTER ROLE managed CONNECTION LIMIT -1")
    assert second_postgres.execute(TEMPLATES) == []


def test_a_former_version_goes_once_the_new_one_is_there(bare: Server, second_postgres: Primary) -> None:
    former = "f" * 64
    second_postgres.execute(f'CREATE DATABASE "{template_name(former)}" OWNER managed IS_TEMPLATE true')
    Server.objects.filter(pk=bare.pk).update(template_version=former)
    assert ensure_template(bare)
    assert [name for name, *_ in second_postgres.execute(TEMPLATES)] == [template_name(schema_version())]
    assert Server.objects.get(pk=bare.pk).template_version == schema_version()
