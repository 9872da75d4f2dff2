"""Tenants that are really made and removed: nothing is rolled back here, so each test removes what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tenants.context import use_control
from tenants.devstack.folder import DataFolder
from tenants.devstack.postgres import Primary
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.reap import reap_unfinished
from tenants.models import Server, Tenant
from tenants.refs import TenantRef
from tenants.servers import forget_servers
from tenants.testing import SLUGS

PROJECT = Path(__file__).resolve().parents[2]
DELETE_ALL = """
from tenants.lifecycle.offboard import delete_tenant
from tenants.models import Tenant
for tenant in Tenant.objects.all():
    delete_tenant(tenant.ref())
"""
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


def primary_url() -> str:
    url: str = json.loads(os.environ["TENANT_SERVERS"])["local"]["primary"]
    return url


def url_of(ref: TenantRef, *, database: str = "") -> str:
    """The URL by which a tenant's role would reach its database, or another."""
    server = urlsplit(primary_url())
    return f"postgres://{ref.role}:{ref.password}@{server.hostname}:{server.port}/{database or ref.database}"


@pytest.fixture
def control(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Control entered, with what is written staying; at the end the tenants that the test made are removed."""
    with django_db_blocker.unblock(), use_control():
        yield
        for tenant in Tenant.objects.exclude(slug__in=SLUGS).filter(state__in=("active", "suspended")):
            delete_tenant(tenant.ref())
        reap_unfinished_now()
        Server.objects.exclude(name="local").delete()


def reap_unfinished_now() -> list[str]:
    return reap_unfinished(older_than=timedelta(0))


@pytest.fixture
def postgres() -> Iterator[psycopg.Connection[Any]]:
    """An administrator's connection beside the code under test."""
    with psycopg.connect(primary_url(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def exists(postgres: psycopg.Connection[Any]) -> Callable[[str], tuple[bool, bool]]:
    """Whether there is a database, and a role, of a name."""

    def look(name: str) -> tuple[bool, bool]:
        row = postgres.execute(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(name)s), EXISTS (SELECT FROM pg_roles WHERE rolname = %(name)s)",
            {"name": name},
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    return look


@pytest.fixture(scope="session")
def second_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    """A Postgres that no other test uses and an administrator without superuser, as cloud providers give one."""
    folder = DataFolder(tmp_path_factory.mktemp("second") / "data")
    folder.open()
    primary = Primary(folder, folder.ports("postgres-primary")["postgres-primary"], durable=False)
    primary.prepare()
    primary.start()
    primary.wait_ready()
    primary.execute("CREATE ROLE managed LOGIN CREATEDB CREATEROLE PASSWORD 'managed'")
    yield primary
    primary.stop()
    folder.close()


@pytest.fixture
def managed(control: None, second_postgres: Primary) -> Server:
    """The second Postgres in the registry, with nothing on it but, perhaps, the template."""
    server = Server(name="managed")
    server.url = second_postgres.url_of("postgres", "managed", "managed")
    server.save()
    forget_servers()  # what a test before this one said of it
    return server


class Manage:
    """`manage.py` as people run it, in an environment of its own."""

    def __init__(self, **environment: str) -> None:
        self.environment = {**os.environ, **environment}

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=PROJECT,
            env={**self.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str, stdin: str = "", code: int = 0, **environment: str) -> str:
        """Run to the end; standard output, or standard error when a code other than 0 is expected."""
        process = self.start(*words, **environment)
        out, err = process.communicate(stdin, timeout=120)
        assert process.returncode == code, (words, process.returncode, out, err)
        return err.strip() if code else out

    def facts(self, *words: str, **options: Any) -> Any:
        return json.loads(self(words[0], "--json", *words[1:], **options))


@pytest.fixture(scope="module")
def manage() -> Iterator[Manage]:
    """manage.py on a control database of this module's own, prepared, with no tenant."""
    database = f"lifecycle_{WORKER}"
    control = os.environ["CONTROL_DATABASE_URL"].rpartition("/")[0] + f"/{database}"
    with psycopg.connect(primary_url(), autocommit=True) as connection:
        name = sql.Identifier(database)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        manage = Manage(CONTROL_DATABASE_URL=control, TENANT_APPS="")
        manage("prepare")
        yield manage
        manage("shell", "--no-imports", "-c", DELETE_ALL)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
