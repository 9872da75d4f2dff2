"""Reads go to the replica, and whoever wrote something sees it, with replay paused on the replica."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core import signing
from django.db import transaction
from taggit.models import Tag

from tenants import reads
from tenants.context import use_tenant
from tenants.db import pools, replicas
from tenants.db.nodes import Position
from tenants.refs import TenantRef
from tenants.servers import server_of

# All workers share the replica, and a test pauses its replay.
pytestmark = pytest.mark.xdist_group("replica")


@pytest.fixture
def watched(committed_tenant: TenantRef, django_db_blocker: Any) -> Iterator[TenantRef]:
    """A tenant with committed rows, whose replica this process has sampled. Rows that a test makes are removed."""
    with django_db_blocker.unblock():
        with use_tenant(committed_tenant):
            server_of(committed_tenant.server)
            wait_until(lambda: any(state.healthy for state in replicas.status()))
        yield committed_tenant
        with use_tenant(committed_tenant):
            Tag.objects.all().delete()


def wait_until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def transactions(connection: psycopg.Connection[Any], database: str) -> int:
    """How many transactions the server has counted in a database."""
    row = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [database]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_block_that_allows_it_reads_from_the_replica(watched: TenantRef, replica: psycopg.Connection[Any]) -> None:
    before = transactions(replica, watched.database)
    with use_tenant(watched), reads.reads_from_replica():
        for _ in range(5):
            Tag.objects.count()
    pools.forget_tenant(watched.alias)  # a backend adds its counts when it ends, and seldom before
    wait_until(lambda: transactions(replica, watched.database) >= before + 5)


def test_without_such_a_block_the_primary_is_read(watched: TenantRef) -> None:
    with use_tenant(watched):
        assert Tag.objects.all().db == watched.alias


def test_a_write_pins_the_rest_of_the_block_to_the_primary(
    watched: TenantRef, replica: psycopg.Connection[Any]
) -> None:
    replica.execute("SELECT pg_wal_replay_pause()")
    with use_tenant(watched), reads.reads_from_replica():
        assert Tag.objects.all().db == f"{watched.alias}@0"
        Tag.objects.create(name="written", slug="written")
        assert Tag.objects.filter(slug="written").exists()


def test_a_token_of_the_write_makes_a_later_reader_see_it(watched: TenantRef, replica: psycopg.Connection[Any]) -> None:
    replica.execute("SELECT pg_wal_replay_pause()")
    with use_tenant(watched):
        with reads.reads_from_primary():
            Tag.objects.create(name="mine", slug="mine")
            token = reads.read_after()
        assert token is not None
        with reads.reads_from_replica():
            assert not Tag.objects.filter(slug="mine").exists()  # the control: without the token the replica is behind
        with reads.reads_from_replica(token):
            assert Tag.objects.filter(slug="mine").exists()
    replica.execute("SELECT pg_wal_replay_resume()")
    with use_tenant(watched):

        def caught_up() -> bool:
            with reads.reads_from_replica(token):
                return Tag.objects.all().db == f"{watched.alias}@0"

        wait_until(caught_up)
        with reads.reads_from_replica(token):
            assert Tag.objects.filter(slug="mine").exists()


def test_who_someone_is_comes_from_the_primary(watched: TenantRef) -> None:
    with use_tenant(watched), reads.reads_from_replica():
        assert Session.objects.all().db == watched.alias
        assert Group.objects.all().db == watched.alias
        assert Tag.objects.using("default").db == watched.alias


def test_a_transaction_reads_where_it_writes(watched: TenantRef) -> None:
    with use_tenant(watched), reads.reads_from_replica(), transaction.atomic():
        assert Tag.objects.all().db == watched.alias


@pytest.mark.parametrize("token", ["", "nonsense", "7-1-ff:forged", "\x00", "x" * 5000])
def test_a_token_that_cannot_be_read_means_the_primary(watched: TenantRef, token: str) -> None:
    with use_tenant(watched), reads.reads_from_replica(token or "no token at all"):
        assert Tag.objects.all().db == watched.alias


def test_a_token_of_another_tenant_cannot_be_read(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        token = reads.make_token(Position(cluster="1", timeline=1, lsn=1))
        assert reads.parse_token(token).lsn == 1
    with use_tenant(globex), pytest.raises(signing.BadSignature):
        reads.parse_token(token)


def test_a_position_of_another_timeline_or_cluster_is_never_covered() -> None:
    here = Position(cluster="1", timeline=2, lsn=100)
    assert here.covers(Position(cluster="1", timeline=2, lsn=100))
    assert not here.covers(Position(cluster="1", timeline=1, lsn=50))
    assert not here.covers(Position(cluster="2", timeline=2, lsn=50))
    assert not here.covers(Position(cluster="1", timeline=2, lsn=101))
