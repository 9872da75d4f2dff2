"""The scripts that make compose.yaml's two Postgres servers a primary and its streaming replica, on real servers."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

from tenants.devstack.ports import free_port
from tenants.devstack.postgres import BINARIES
from tenants.devstack.unprivileged import Account, server_account

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["postgres"]
SETTINGS = COMPOSE["command"][1:]
REPLICA = ("sh", str(ROOT / ".docker" / "postgres-replica"), "postgres")


class Server:
    """One of compose.yaml's servers: its data folder, its port and the environment that its container would have."""

    def __init__(self, folder: Path, account: Account, **environment: str) -> None:
        self.folder, self.account, self.port = folder, account, free_port()
        self.settings = [*SETTINGS, "-clisten_addresses=127.0.0.1", f"-cport={self.port}", "-cunix_socket_directories="]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "PATH": f"{BINARIES}:{os.environ['PATH']}",
            "PGDATA": str(folder),
            **environment,
        }

    def run(self, *command: str, **environment: str) -> None:
        subprocess.run(
            [*self.account.prefix, *command],
            env={**self.environment, **environment},
            check=True,
            timeout=60,
            cwd="/",
            **self.account.popen_arguments,
        )

    @contextmanager
    def running(self, *command: str, password: str) -> Iterator[psycopg.Connection]:
        process = subprocess.Popen(
            [*self.account.prefix, *command, *self.settings],
            env=self.environment,
            cwd="/",
            **self.account.popen_arguments,
        )
        try:
            with self.connect(process, password) as connection:
                yield connection
        finally:
            process.terminate()
            process.wait(timeout=30)

    def connect(self, process: subprocess.Popen[bytes], password: str) -> psycopg.Connection:
        deadline = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(
                    host="127.0.0.1",
                    port=self.port,
                    dbname="postgres",
                    user="postgres",
                    password=password,
                    autocommit=True,
                )
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    subprocess.run([ROOT / ".docker" / "secrets", tmp_path / "secrets"], check=True)
    return tmp_path / "secrets"


@pytest.fixture
def primary(tmp_path: Path, secrets: Path) -> Server:
    account = server_account(BINARIES / "postgres")
    account.own(secrets)
    folder = tmp_path / "primary"
    folder.mkdir()
    account.own(folder)
    server = Server(
        folder,
        account,
        CONTROL_PASSWORD_FILE=str(secrets / "control_password"),
        TENANTS_PASSWORD_FILE=str(secrets / "tenants_password"),
        REPLICATION_PASSWORD_FILE=str(secrets / "replication_password"),
    )
    server.run(
        "initdb",
        *COMPOSE["environment"]["POSTGRES_INITDB_ARGS"].split(),
        "--username=postgres",
        f"--pwfile={secrets / 'postgres_password'}",
        "--auth=scram-sha-256",
        "--no-sync",
    )
    return server


@pytest.fixture
def replica(tmp_path: Path, secrets: Path, primary: Server) -> Server:
    parent = tmp_path / "replica"
    parent.mkdir()
    primary.account.own(parent)
    return Server(
        parent / "18" / "docker",
        primary.account,
        PGHOST="127.0.0.1",
        PGPORT=str(primary.port),
        REPLICATION_PASSWORD_FILE=str(secrets / "replication_password"),
    )


@contextmanager
def prepared(primary: Server, password: str) -> Iterator[psycopg.Connection]:
    """The primary, running, after the script that the image runs once."""
    with primary.running("postgres", password=password) as connection:
        primary.run(
            "sh",
            str(ROOT / ".docker" / "postgres-primary"),
            PGHOST="127.0.0.1",
            PGPORT=str(primary.port),
            PGPASSWORD=password,
        )
        connection.execute("SELECT pg_reload_conf()")
        yield connection


def test_the_replica_copies_the_primary_once_and_then_streams(secrets: Path, primary: Server, replica: Server) -> None:
    password = (secrets / "postgres_password").read_text()
    with prepared(primary, password) as on_primary:
        with replica.running(*REPLICA, password=password) as on_replica:
            assert on_replica.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        on_primary.execute("CREATE TABLE written_while_it_was_away AS SELECT 42 AS answer")
        with replica.running(*REPLICA, password=password) as on_replica:
            assert streamed(on_replica) == (42,)
            slot = on_primary.execute("SELECT slot_name, active FROM pg_replication_slots").fetchone()
    assert slot == ("replica", True)


def test_a_copy_that_was_broken_off_is_made_again(secrets: Path, primary: Server, replica: Server) -> None:
    password = (secrets / "postgres_password").read_text()
    broken = replica.folder.with_name("docker.copying")
    shutil.copytree(primary.folder, broken)
    primary.account.own(broken.parent)
    primary.account.own(broken)
    with prepared(primary, password), replica.running(*REPLICA, password=password) as on_replica:
        assert on_replica.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    assert not broken.exists()


@pytest.mark.parametrize(
    ("secret", "rights"), [("control_database_url", (False, False, False)), ("tenant_servers", (False, True, True))]
)
def test_a_role_may_do_what_it_must_and_no_more(
    secrets: Path, primary: Server, secret: str, rights: tuple[bool, ...]
) -> None:
    """The rights are: superuser, make databases, make roles. Both may read what the replica monitor asks."""
    text = (secrets / secret).read_text()
    url = urlsplit(json.loads(text)["main"]["primary"] if text.startswith("{") else text)
    with (
        prepared(primary, (secrets / "postgres_password").read_text()),
        psycopg.connect(
            host="127.0.0.1", port=primary.port, dbname=url.path[1:], user=url.username, password=url.password
        ) as connection,
    ):
        row = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, pg_has_role(oid, 'pg_monitor', 'member') FROM pg_roles "
            "WHERE rolname = current_user"
        ).fetchone()
    assert row == (*rights, True)


def streamed(connection: psycopg.Connection) -> tuple[int] | None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return connection.execute("SELECT answer FROM written_while_it_was_away").fetchone()
        except psycopg.errors.UndefinedTable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
