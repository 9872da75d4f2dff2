"""The servers as a library: what they promise to whoever starts them."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymongo
import pytest
import redis

from tenants.devstack.servers import EmbeddedServers

pytestmark = pytest.mark.xdist_group("devstack-servers")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers") / "data"


@pytest.fixture(scope="module")
def servers(path: Path) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(path, replica=True, durable=False) as servers:
        yield servers


def read_from_replica(servers: EmbeddedServers, statement: str) -> list[tuple[object, ...]]:
    written = servers.postgres.execute("SELECT pg_current_wal_lsn()::text")[0][0]
    with psycopg.connect(servers.replica_urls[0], autocommit=True) as connection:
        connection.execute("SELECT 1")
        for _ in range(200):
            row = connection.execute(
                "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn, pg_sleep(0.02)", [written]
            ).fetchone()
            if row and row[0]:
                break
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def test_every_part_has_a_name_and_a_pid(servers: EmbeddedServers) -> None:
    assert list(servers.pids) == ["postgres-primary", "postgres-replica", "redis", "mongo"]


def test_the_replica_streams_what_the_primary_writes(servers: EmbeddedServers) -> None:
    servers.postgres.execute("CREATE TABLE streamed AS SELECT 42 AS answer")
    assert read_from_replica(servers, "SELECT answer, pg_is_in_recovery() FROM streamed") == [(42, True)]


def test_it_is_postgres_18_with_logical_wal(servers: EmbeddedServers) -> None:
    assert servers.postgres.execute(
        "SELECT current_setting('wal_level'), current_setting('server_version') LIKE '18.%%'"
    ) == [("logical", True)]


def test_a_wrong_password_is_refused(servers: EmbeddedServers) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(servers.postgres.url_of("postgres", "postgres", "wrong"))


def test_a_database_of_its_own_belongs_to_its_role_alone(servers: EmbeddedServers) -> None:
    for name in ("one", "two"):
        servers.postgres.ensure_database(name, owner=name, password=name)
        servers.postgres.ensure_database(name, owner=name, password=name)
    with psycopg.connect(servers.postgres.url_of("one", "one", "one")) as connection:
        connection.execute("CREATE TABLE mine ()")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(servers.postgres.url_of("two", "one", "one"))


def test_nothing_listens_beyond_loopback(servers: EmbeddedServers) -> None:
    for port in (servers.postgres.port, servers.replica.port, servers.redis.port, servers.mongo.port):  # type: ignore[union-attr]
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex(("127.0.0.2", port)) != 0


def test_an_immediate_restart_keeps_what_was_committed(servers: EmbeddedServers) -> None:
    servers.postgres.execute("CREATE TABLE kept AS SELECT 1 AS n")
    before = servers.postgres.pid
    servers.postgres.restart(mode="immediate")
    assert servers.postgres.pid != before
    assert servers.postgres.execute("SELECT n FROM kept") == [(1,)]
    servers.replica.follow()
    assert read_from_replica(servers, "SELECT n FROM kept") == [(1,)]


def test_a_killed_part_can_be_started_again(servers: EmbeddedServers) -> None:
    servers["redis"].kill()
    assert "redis" not in servers.pids
    servers["redis"].restart()
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.ping()


def test_a_killed_postmaster_can_be_started_again(servers: EmbeddedServers) -> None:
    with psycopg.connect(servers.primary_url) as backend:  # which outlives its parent for a moment
        servers.postgres.kill()
        servers.postgres.start()
        servers.postgres.wait_ready()
        with pytest.raises(psycopg.OperationalError):
            backend.execute("SELECT 1")


def test_a_replica_that_lost_its_place_is_copied_again(servers: EmbeddedServers) -> None:
    servers.replica.stop()
    servers.postgres.execute("SELECT pg_drop_replication_slot('replica')")
    servers.postgres.execute("CREATE TABLE missed AS SELECT 7 AS n")
    servers.replica.start()
    servers.replica.follow(timeout=2)
    assert read_from_replica(servers, "SELECT n FROM missed") == [(7,)]


def test_a_second_start_finds_ports_and_data_again(servers: EmbeddedServers, path: Path) -> None:
    with pymongo.MongoClient(servers.mongo_url) as client:
        client.get_default_database()["kept"].insert_one({"_id": 1})
    servers.postgres.execute("CREATE TABLE again AS SELECT 9 AS n")
    urls = servers.primary_url, servers.replica_urls, servers.redis_url, servers.mongo_url
    servers.stop()
    servers.open()
    servers.start()
    assert (servers.primary_url, servers.replica_urls, servers.redis_url, servers.mongo_url) == urls
    assert servers.postgres.execute("SELECT n FROM again") == [(9,)]
    with pymongo.MongoClient(servers.mongo_url) as client:
        assert client.get_default_database()["kept"].find_one() == {"_id": 1}
