"""A read that is in the way of what its replica has to replay (SQLSTATE 40001) is run on the primary, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connections, transaction
from psycopg.errors import SerializationFailure
from taggit.models import Tag

from tenants import reads
from tenants.context import use_tenant
from tenants.db import retry
from tenants.refs import TenantRef
from tests.failover.cluster import Cluster

pytestmark = pytest.mark.xdist_group("failover")

SLOW = "SELECT pg_sleep(1.5), name FROM taggit_tag"


@pytest.fixture
def conflicting(home: Any) -> tuple[Cluster, TenantRef]:
    """A tenant whose replica ends whatever is in the way at once."""
    cluster, ref = home(replicas=1)
    cluster.execute("replica", "ALTER SYSTEM SET max_standby_streaming_delay = 0")
    cluster.execute("replica", "SELECT pg_reload_conf()")
    with use_tenant(ref):
        Tag.objects.create(name="old", slug="old")
    time.sleep(1)
    return cluster, ref


def while_the_table_is_made_anew(ref: TenantRef, read: Callable[[], Any]) -> Any:
    def rewrite() -> None:
        time.sleep(0.5)
        with use_tenant(ref), transaction.atomic(), connections["default"].cursor() as cursor:
            cursor.execute("TRUNCATE taggit_tag CASCADE")
            Tag.objects.create(name="new", slug="new")

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        with use_tenant(ref), reads.reads_from_replica():
            return read()
    finally:
        thread.join()


def slow_read() -> list[str]:
    alias = Tag.objects.all().db
    assert "@" in alias
    with connections[alias].cursor() as cursor:
        cursor.execute(SLOW)
        return [name for _, name in cursor.fetchall()]


def slow_chunks() -> list[str]:
    """By a server-side cursor, as `iterator()` reads."""
    return [tag.name for tag in Tag.objects.extra(select={"slept": "pg_sleep(1.5)::text"}).iterator()]


@pytest.mark.parametrize("read", [slow_read, slow_chunks])
def test_it_is_answered_by_the_primary(conflicting: tuple[Cluster, TenantRef], read: Callable[[], list[str]]) -> None:
    assert while_the_table_is_made_anew(conflicting[1], read) == ["new"]


def test_without_the_repeat_it_fails(conflicting: tuple[Cluster, TenantRef], monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr(retry.RetryingWrapper, "retry_on", lambda self, cursor, sql, error: None)
    with pytest.raises(OperationalError) as failed:
        while_the_table_is_made_anew(conflicting[1], slow_read)
    assert isinstance(failed.value.__cause__, SerializationFailure)


def test_inside_a_transaction_on_the_replica_it_fails(conflicting: tuple[Cluster, TenantRef]) -> None:
    """What the transaction read before may be of another time than what the primary would answer."""

    def read() -> list[str]:
        with transaction.atomic(using=Tag.objects.all().db):
            return slow_read()

    with pytest.raises(DatabaseError):
        while_the_table_is_made_anew(conflicting[1], read)


def test_what_a_replica_has_not_got_yet_is_read_on_the_primary(home: Any) -> None:
    cluster, ref = home(replicas=1)
    time.sleep(1)
    cluster.execute("replica", "SELECT pg_wal_replay_pause()")
    with use_tenant(ref):
        with connections["default"].cursor() as cursor:
            cursor.execute("ALTER TABLE taggit_tag RENAME TO renamed")
        with reads.reads_from_replica(), connections[Tag.objects.all().db].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM renamed")
            assert cursor.fetchone() == (0,)
    cluster.execute("replica", "SELECT pg_wal_replay_resume()")
