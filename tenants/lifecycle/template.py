"""The template database of each server: migrated once, so that a new tenant's database is a copy of it.

It is named after its schema's version. One that is whole lets nobody connect, since a database with a connection can't be copied; one that
does let connect was left by a build that was killed, and is built again.
"""

from __future__ import annotations

import secrets

import structlog

from tenants import context
from tenants.db import pools
from tenants.errors import TenantBusy
from tenants.ids import new_id
from tenants.lifecycle import postgres, schema
from tenants.lifecycle.postgres import Administrator, administrator, execute
from tenants.models import Server
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

# Owns what is in the templates; in a copy, the tenant's role takes its place.
OWNER = "tenantry_template"
# Seconds that one process waits for another that is building.
BUILD_TIMEOUT = 300.0


def template_name(version: str) -> str:
    """The name of the template database of that schema version."""
    return f"{OWNER}_{version[:12]}"


def ensure_template(server: Server) -> bool:
    """See to it that the server has a whole template of this code's schema and its registry row names it. Returns whether one was built.

    Any number of processes may ask at once. Raises ServerUnavailable, and what a failing migration raises.
    """
    version = schema.schema_version()
    name = template_name(version)
    with (
        context.use_control(),
        administrator(server) as admin,
        postgres.advisory_lock(admin, OWNER, timeout=BUILD_TIMEOUT) as held,
    ):
        if not held:
            raise TenantBusy(slug=name, state="being built")
        build = not is_whole(admin, name)
        if build:
            _build(server, admin, name)
        former = Server.objects.values_list("template_version", flat=True).get(pk=server.pk)
        if former != version:
            Server.objects.filter(pk=server.pk).update(template_version=version)
            if former:
                _drop(admin, template_name(former))
        server.template_version = version
    return build


def is_whole(admin: Administrator, name: str) -> bool:
    """Whether a template database of that name is there and was built to its end."""
    query = "SELECT datistemplate AND NOT datallowconn FROM pg_database WHERE datname = %s"
    return admin.execute(query, [name]).fetchone() == (True,)


def _build(server: Server, admin: Administrator, name: str) -> None:
    _drop(admin, name)
    if not postgres.role_exists(admin, OWNER):
        postgres.role_create(admin, OWNER)
    execute(admin, "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name)
    try:
        postgres.database_reserve(admin, name, OWNER)
        with administrator(server, dbname=name) as inside:
            execute(inside, "ALTER SCHEMA public OWNER TO {}", OWNER)
        _migrate(server, admin, name)
        with administrator(server, dbname=name) as inside:
            # Copies inherit it: no thousand of them want the same vacuum one day.
            execute(inside, "VACUUM (FREEZE, ANALYZE)")
        execute(admin, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true", name)
    except BaseException:
        _drop(admin, name)
        raise
    log.info("template_built", server=server.name, template=name)


def _migrate(server: Server, admin: Administrator, name: str) -> None:
    """Migrate as the owner, who may log in for this long."""
    password = secrets.token_urlsafe(32)
    ref = TenantRef(
        id=str(new_id()), slug=name, name=name, plan="", state="provisioning", epoch=1,
        server=server.name, database=name, role=OWNER, password=password,
    )  # fmt: skip
    postgres.role_let_in(admin, OWNER, password)
    try:
        with context.use(ref):
            schema.migrate()
    finally:
        pools.forget_tenant(ref.alias)
        postgres.role_shut_out(admin, OWNER)


def _drop(admin: Administrator, name: str) -> None:
    if admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
        execute(admin, "ALTER DATABASE {} WITH IS_TEMPLATE false", name)
        postgres.database_drop(admin, name)
