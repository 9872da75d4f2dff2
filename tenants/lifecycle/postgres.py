"""An administrator's connection to a server, past the pools, and the few commands that tenants' databases need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from django.conf import settings
from psycopg import sql

from tenants.db.options import NETWORK_OPTIONS
from tenants.db.urls import connection_arguments, database
from tenants.errors import ServerUnavailable, TenantBusy
from tenants.models import Server
from tenants.servers import primary_endpoint, server_of

Administrator = psycopg.Connection[Any]

# Milliseconds. To drop a database takes a checkpoint, which is slow on a busy server.
_STATEMENT_TIMEOUT = 120_000
_LOCK_TIMEOUT = 10_000


@contextmanager
def administrator(server: Server, *, dbname: str | None = None) -> Iterator[Administrator]:
    """A connection in autocommit to the server's own database, or to `dbname`, on whichever of its nodes is the primary by now.

    Raises ServerUnavailable when there is none to be had.
    """
    parsed = database(server.url)
    try:
        primary = primary_endpoint(server_of(server.name).name)
        connection = connect({**parsed, "HOST": primary.host, "PORT": str(primary.port)}, dbname=dbname)
    except psycopg.OperationalError as error:
        raise ServerUnavailable(server=server.name, reason=first_line(error)) from error
    with connection:
        yield connection


def connect(parsed: dict[str, Any], *, dbname: str | None = None) -> Administrator:
    """Connect as tenants.db.urls parsed it, with time limits."""
    return psycopg.connect(
        autocommit=True,
        **{
            **connection_arguments({**parsed, "NAME": dbname or parsed["NAME"]}),
            **NETWORK_OPTIONS,
            **parsed["OPTIONS"],
            "application_name": f"tenantry-{settings.TENANTRY_PROCESS} lifecycle",
            "options": f"-c timezone=UTC -c statement_timeout={_STATEMENT_TIMEOUT} -c lock_timeout={_LOCK_TIMEOUT}",
        },
    )


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def execute(connection: Administrator, command: LiteralString, *names: str) -> None:
    """Run a command; each `{}` in it stands for a name, which is quoted."""
    connection.execute(sql.SQL(command).format(*map(sql.Identifier, names)))


@contextmanager
def advisory_lock(connection: Administrator, name: str, *, timeout: float) -> Iterator[bool]:
    """Hold the server-wide lock of that name, waiting up to `timeout` seconds; yields whether it was had. A killed holder loses it."""
    deadline = time.monotonic() + timeout
    while not (held := _ask(connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name)):
        if time.monotonic() >= deadline:
            break
        time.sleep(0.05)
    try:
        yield held
    finally:
        if held and not connection.closed:
            _ask(connection, "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)


@contextmanager
def tenant_lock(connection: Administrator, *, tenant_id: object, slug: str, timeout: float = 10.0) -> Iterator[None]:
    """Be the only one who makes, migrates or removes this tenant's database. Raises TenantBusy when somebody else is for that long."""
    with advisory_lock(connection, f"tenantry tenant {tenant_id}", timeout=timeout) as held:
        if not held:
            raise TenantBusy(slug=slug, state="being worked on")
        yield


def _ask(connection: Administrator, query: LiteralString, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def role_exists(connection: Administrator, role: str) -> bool:
    return bool(_ask(connection, "SELECT true FROM pg_roles WHERE rolname = %s", role))


def role_create(connection: Administrator, role: str) -> None:
    """Make a role that can't log in yet and belongs to nobody but the administrator."""
    execute(connection, "CREATE ROLE {} NOLOGIN", role)
    if not _ask(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        execute(connection, "GRANT {} TO CURRENT_USER", role)  # else it may not give the role what the role shall own


def role_let_in(connection: Administrator, role: str, password: str) -> None:
    """Let a role log in with this password. The server gets a SCRAM verifier, so that no log of its can show the password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def role_shut_out(connection: Administrator, role: str) -> None:
    execute(connection, "ALTER ROLE {} NOLOGIN PASSWORD NULL", role)


def role_drop(connection: Administrator, role: str) -> None:
    execute(connection, "DROP ROLE IF EXISTS {}", role)


def database_reserve(connection: Administrator, name: str, role: str) -> None:
    """Let `role` connect to a database and make things in it, and nobody else. The database itself stays the administrator's."""
    execute(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
    execute(connection, "GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}", name, role)


def database_drop(connection: Administrator, name: str) -> None:
    """Drop a database, ending whoever is connected. One that isn't there is no error."""
    execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
