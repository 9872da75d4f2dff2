"""A pytest plugin: the real servers of a test run, started before Django reads its settings.

They are started once, by the process that runs pytest, and shared by its xdist workers, each of which has a control database, a MongoDB
database and a Valkey database of its own. TENANTRY_TEST_DATA names a folder that is kept between runs, for quick turns at the desk.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenants import epochs
from tenants.db import monitor
from tenants.devstack.servers import EmbeddedServers

VARIABLE = "TENANTRY_TEST_SERVERS"
_servers: EmbeddedServers | None = None
_folder: str | None = None


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None, Any, Any]:
    """Runs around pytest-django's own hook, which reads the settings."""
    if VARIABLE not in os.environ:
        _start()
    _enter(json.loads(os.environ[VARIABLE]), os.environ.get("PYTEST_XDIST_WORKER", "main"))
    try:
        return (yield)
    except BaseException:
        pytest_unconfigure()  # pytest doesn't, when it fails before it is configured
        raise


def _start() -> None:
    global _servers, _folder
    kept = os.environ.get("TENANTRY_TEST_DATA")
    folder = kept or tempfile.mkdtemp(prefix="tenantry-tests-")
    if not kept:
        _folder = folder
        os.chmod(folder, 0o755)
    _servers = EmbeddedServers(folder, replica=True, durable=False)
    _servers.__enter__()
    os.environ[VARIABLE] = json.dumps(
        {
            "primary": _servers.primary_url,
            "replicas": _servers.replica_urls,
            "redis": _servers.redis_url,
            "mongo": _servers.mongo_url,
            "folder": folder,
        }
    )


def _enter(servers: dict[str, Any], worker: str) -> None:
    """Set the environment of this process: settings are read from it next."""
    number = int(worker.removeprefix("gw")) + 1 if worker.startswith("gw") else 0
    control = f"control_{worker}"
    with psycopg.connect(servers["primary"], autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [control]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(control)))
    server, mongo, redis = (servers[name].rpartition("/")[0] for name in ("primary", "mongo", "redis"))
    os.environ.update(
        CONTROL_DATABASE_URL=f"{server}/{control}",
        TENANT_SERVERS=json.dumps({"local": {"primary": servers["primary"], "replicas": servers["replicas"]}}),
        MONGO_URL=f"{mongo}/tenantry_{worker}",
        REDIS_URL=f"{redis}/{number}",
        SECRET_KEY="a key for tests alone, which is long enough to please every check",
        CREDENTIALS_KEYS="test:dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=",
        ACTIVITY_SIGNING_KEYS="test:c2lnbnNpZ25zaWduc2lnbnNpZ25zaWduc2lnbnNpZ24=",
        BASE_DOMAIN="localhost",
        TENANTRY_DEV="1",
        TENANT_APPS="taggit,tests.notes",
        TENANTRY_PROCESS="cli",
        DATA_DIR=f"{servers['folder']}/data-{worker}",
    )


def pytest_unconfigure() -> None:
    global _servers
    if _servers is None:
        return
    epochs.stop()  # they would tell that the servers are gone
    monitor.stop()
    _servers.stop()
    _servers = None
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)
