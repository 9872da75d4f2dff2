"""The cast: two tenants, acme and globex, equal in all but name; and the people in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.test import override_settings

from activity import log, mongo
from activity.context import recording
from activity.models import LogCheckpoint, LogHead, LogSegment, OutboxEvent, Rollup, RollupHead
from tenants import context
from tenants.refs import CONTROL, Ref, TenantRef
from tests.system import System

pytest_plugins = ["tenants.testing"]


@pytest.fixture(scope="session", autouse=True)
def plain_static_files() -> Iterator[None]:
    """Pages rendered in this process name static files as they are: the manifest of `collectstatic` is for real servers."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES={**settings.STORAGES, "staticfiles": plain}):
        yield


@pytest.fixture(autouse=True)
def nobody_acts() -> Iterator[None]:
    """Whoever a test names as the acting one is forgotten after it."""
    token = recording.set(None)
    yield
    recording.reset(token)


@pytest.fixture
def committed_tenant(django_db_setup: None) -> TenantRef:
    """`acme` without the rollback, for tests of connections themselves, which must write nothing that stays."""
    from tenants.testing import prepare_tenants

    return prepare_tenants()["acme"]


@pytest.fixture
def empty_logs(tenants: dict[str, TenantRef]) -> Iterator[None]:
    """The cast's logs begin empty: without what others have committed. Postgres rolls back what a test wrote; MongoDB doesn't."""
    cast = (CONTROL, *tenants.values())
    for ref in cast:
        _empty(ref)
    yield
    for ref in cast:
        log.purge(ref)


def _empty(ref: Ref) -> None:
    with context.use(ref):
        if LogHead.objects.exists() or OutboxEvent.objects.exists() or mongo.events().find_one({"tenant": ref.id}):
            log.purge(ref)
            for model in (OutboxEvent, LogHead, LogSegment, LogCheckpoint, Rollup, RollupHead):
                model.objects.all().delete()


@pytest.fixture
def replica() -> Iterator[psycopg.Connection[Any]]:
    """An administrator's connection to the replica, whose replay goes on after the test; for tests of the xdist group `replica`."""
    url = json.loads(os.environ["TENANT_SERVERS"])["local"]["replicas"][0]
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
        connection.execute("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole system with its demo tenants, started once for the tests of the xdist group `system`."""
    folder = tmp_path_factory.mktemp("system")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # Postgres runs as another user where the tests run as root
    # Webhooks of the browser's tests lead to a receiver in this process.
    running = System(folder / "data", variables={"WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"})
    running.start()
    yield running
    running.stop()
