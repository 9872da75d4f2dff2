"""The doctor's look at the control database, the servers and their replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError
from psycopg.rows import dict_row

from tenants.db import budget
from tenants.db.urls import connection_arguments, database
from tenants.doctor.finding import Finding, reason
from tenants.errors import TenantryError

TESTED_POSTGRES = 18
OLDEST_POSTGRES = 17  # the first that has transaction_timeout, which every connection is started with
MAX_LAG = 64 * 1024**2  # bytes
# Processes that hold a pool in the default deployment: web's and stream's workers, Celery's children, beat.
PROCESSES = {"web": 2, "stream": 1, "worker": 2, "beat": 1}

FACTS = """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int / 10000 AS major,
           pg_is_in_recovery() AS in_recovery,
           current_setting('wal_level') AS wal_level,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - COALESCE(current_setting('reserved_connections', true)::int, 0) AS connections,
           (SELECT rolsuper OR (rolcreatedb AND rolcreaterole)
              FROM pg_roles WHERE rolname = current_user) AS may_provision,
           (SELECT system_identifier::text FROM pg_control_system()) AS system,
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn AS position,
           EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS streaming
"""


def _ask(parameters: dict[str, Any]) -> dict[str, Any]:
    with psycopg.connect(
        **{**connection_arguments(parameters), **parameters["OPTIONS"], "connect_timeout": 3},
        row_factory=dict_row,
    ) as connection:
        row = connection.execute(FACTS).fetchone()
    return row or {}


def control() -> Iterator[Finding]:
    parameters = settings.DATABASES["control"]
    try:
        facts = _ask(parameters)
    except psycopg.Error as error:
        yield Finding(
            "control",
            "failed",
            reason(error),
            "Check CONTROL_DATABASE_URL, and that the server runs and knows the role.",
        )
        return
    yield from _version("control", facts)
    try:
        missing = _unapplied_migrations()
    except DatabaseError as error:  # no rights on its own tables, say
        yield Finding("control: migrations", "failed", reason(error), "Let the role own the control database.")
        return
    if missing:
        yield Finding("control: migrations", "failed", f"{missing} are not applied", "Run manage.py prepare.")
    else:
        yield Finding("control: migrations", "ok", "all applied")


def _unapplied_migrations() -> int:
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections["control"])
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def servers() -> Iterator[Finding]:
    try:
        registered = list(_registered())
    except TenantryError as error:
        yield Finding(
            "servers",
            "failed",
            reason(error),
            "Run manage.py prepare, with the CREDENTIALS_KEYS that it ran with before.",
        )
        return
    if not registered:
        yield Finding(
            "servers", "failed", "none is registered", "Name one in TENANT_SERVERS and run manage.py prepare."
        )
    for name, url, template_version, replicas in registered:
        primary: dict[str, Any] = {}
        yield from _primary(name, url, primary)
        if primary:
            yield _template(name, template_version)
        for replica, replica_url in replicas:
            yield _replica(replica, replica_url, primary)


def _registered() -> Iterator[tuple[str, str, str, list[tuple[str, str]]]]:
    from tenants.models import Server

    try:
        for server in Server.objects.prefetch_related("replicas"):
            replicas = [(str(replica), replica.url) for replica in server.replicas.all()]
            yield server.name, server.url, server.template_version, replicas
    except DatabaseError as error:
        raise TenantryError(f"The registry can't be read: {reason(error)}") from error


def _primary(name: str, url: str, facts: dict[str, Any]) -> Iterator[Finding]:
    parameters = database(url)
    try:
        facts.update(_ask(parameters))
    except psycopg.Error as error:
        yield Finding(
            f"server {name}",
            "failed",
            reason(error),
            "Check that it runs, and its URL in TENANT_SERVERS (then prepare).",
        )
        return
    yield from _version(f"server {name}", facts)
    if facts["in_recovery"]:
        yield Finding(
            f"server {name}: role", "failed", "is a replica", "Give the URL of the primary in TENANT_SERVERS."
        )
    if facts["wal_level"] != "logical":
        advice = "Set wal_level = logical and restart it: tenants can't be moved from here while they work."
        yield Finding(f"server {name}: wal_level", "warning", facts["wal_level"], advice)
    if not facts["may_provision"]:
        advice = "Grant it CREATEDB and CREATEROLE: each tenant gets a database and a role of its own."
        yield Finding(f"server {name}: rights", "failed", "the role can't make databases and roles", advice)
    yield _budget(name, parameters, facts["connections"])


def _budget(name: str, parameters: dict[str, Any], limit: int) -> Finding:
    """What the processes hold of the server's connections, and whether they can all have some."""
    from tenants.models import Lease

    leases = Lease.objects.filter(budget=f"{parameters['HOST']}:{parameters['PORT']}")
    leased, running = sum(leases.values_list("size", flat=True)), leases.count()
    most = int(parameters["POOL"].get("max", settings.POOL["max"]))
    found = f"{limit} connections, {settings.POOL_RESERVE} kept back, {leased} leased to {running} pools"
    advice = budget.complaint(limit=limit, leased=leased, holders=max(running, sum(PROCESSES.values())), most=most)
    return Finding(f"server {name}: budget", "warning" if advice else "ok", found, advice)


def _version(name: str, facts: dict[str, Any]) -> Iterator[Finding]:
    found = f"Postgres {facts['version']}"
    if facts["major"] < OLDEST_POSTGRES:
        advice = f"Upgrade it: an older one than Postgres {OLDEST_POSTGRES} refuses Tenantry's connections."
        yield Finding(name, "failed", found, advice)
    elif facts["major"] < TESTED_POSTGRES:
        yield Finding(
            name, "warning", found, f"Tenantry is tested with Postgres {TESTED_POSTGRES}: upgrade when you can."
        )
    else:
        yield Finding(name, "ok", found)


def _template(name: str, version: str) -> Finding:
    from tenants.lifecycle.schema import schema_version

    if version == schema_version():
        return Finding(f"server {name}: template", "ok", version[:12])
    found = f"is of another version ({version[:12]})" if version else "there is none"
    return Finding(f"server {name}: template", "failed", found, "Run manage.py prepare: sign-ups are copies of it.")


def _replica(name: str, url: str, primary: dict[str, Any]) -> Finding:
    check = f"replica {name}"
    try:
        facts = _ask(database(url))
    except psycopg.Error as error:
        return Finding(check, "failed", reason(error), "Start it; until then the primary serves all reads.")
    if not facts["in_recovery"]:
        return Finding(check, "failed", "is a primary", "It left its primary: make it again with pg_basebackup.")
    if primary and facts["system"] != primary["system"]:
        return Finding(
            check, "failed", "follows another primary", "Correct its URL in TENANT_SERVERS and run manage.py prepare."
        )
    if not facts["streaming"]:
        return Finding(check, "failed", "doesn't stream", "Look into its log for what keeps it from its primary.")
    lag = max(0, int(primary["position"]) - int(facts["position"])) if primary else 0
    if lag > MAX_LAG:
        return Finding(
            check, "warning", f"{lag / 1024**2:.0f} MB behind", "Reads go to the primary until it has caught up."
        )
    return Finding(check, "ok", f"streams, {lag} bytes behind")
