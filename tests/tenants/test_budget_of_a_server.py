"""Twelve processes on a server with max_connections = 60, which would exhaust it if each took what its pool may hold.

A Postgres of the tests' own. The ordinary suite has 48 tenants and some 20 seconds; `make scenarios` has 300 and 60.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenants.db.budget import EXPIRES_AFTER
from tenants.db.openers import MAX_OPENERS
from tenants.devstack.folder import DataFolder
from tenants.devstack.postgres import Primary

pytestmark = pytest.mark.xdist_group("budget")

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 12
THREADS = 3
RESERVE = 10
LIMIT = 60
FULL = ("too many clients", "remaining connection slots are reserved", "too many connections")


class SmallServer(Primary):
    def settings(self) -> dict[str, str]:
        return {**super().settings(), "max_connections": str(LIMIT), "max_wal_senders": "2", "shared_buffers": "32MB"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """With a control database that has the tables of leases."""
    path = tmp_path_factory.mktemp("budget")
    for parent in (path, *path.parents[:2]):
        parent.chmod(0o755)  # Postgres runs as another user where the tests run as root
    folder = DataFolder(path / "data")
    folder.open()
    running = SmallServer(folder, folder.ports("postgres-primary")["postgres-primary"], durable=False)
    running.prepare()
    running.start()
    try:
        running.wait_ready()
        running.ensure_database("control", owner="control", password="control")
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "tenants", "--database", "control", "--skip-checks", "-v", "0"],
            cwd=ROOT, env=environment(running, "cli"), check=True, timeout=120,
        )  # fmt: skip
        yield running
    finally:
        running.stop()
        folder.close()


def environment(server: SmallServer, kind: str, **more: str) -> dict[str, str]:
    url = server.url_of("control", "control", "control")
    return {
        **os.environ,
        "CONTROL_DATABASE_URL": url,
        "TENANT_SERVERS": "{}",
        "TENANTRY_PROCESS": kind,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "POOL_RESERVE": str(RESERVE),
        "THREADS": "8",
        **more,
    }


def tenants(server: SmallServer, count: int) -> list[str]:
    """So many empty databases that control's role may use; those of an earlier test are used again."""
    names = [f"tenant{number}" for number in range(count)]
    with psycopg.connect(server.url, autocommit=True) as connection:
        there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in names:
            if name not in there:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER control STRATEGY FILE_COPY").format(sql.Identifier(name))
                )
    return names


class Fleet:
    """Processes at work, and what the server saw of them."""

    def __init__(self, server: SmallServer, databases: list[str], **more: str) -> None:
        self.server = server
        self.pids: list[int] = []
        self.most = 0
        self._log_start = server.log.stat().st_size
        self._observer = psycopg.connect(server.url, autocommit=True)
        self._parent = subprocess.Popen(
            [sys.executable, "-W", "ignore", "tests/tenants/budget_process.py", json.dumps(databases), str(THREADS)],
            cwd=ROOT, env={**environment(server, "web", **more), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, count: int) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{count}\n")
        self._parent.stdin.flush()
        self.pids += [self._read()["ready"] for _ in range(count)]

    def _read(self) -> dict[str, Any]:
        assert self._parent.stdout is not None
        answer: dict[str, Any] = json.loads(self._parent.stdout.readline())
        return answer

    def kill(self, count: int) -> list[int]:
        killed = [self.pids.pop(0) for _ in range(count)]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        return killed

    def watch(self, seconds: float) -> None:
        """Count the backends of ordinary clients, as often as can be asked."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            row = self._observer.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'control'"
            ).fetchone()
            assert row is not None
            self.most = max(self.most, row[0])
            time.sleep(0.01)

    def stop(self) -> list[dict[str, Any]]:
        """End the processes; what each of them did."""
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
        reports = [self._read() for _ in self.pids]
        self._parent.communicate(timeout=30)
        self._observer.close()
        return reports

    def refusals(self) -> list[str]:
        """What the server said to those whom it had no connection for."""
        with self.server.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return [line for line in lines if any(words in line for words in FULL)]

    def leased(self) -> dict[int, int]:
        """What each process holds, by its pid."""
        rows = self.server.execute("SELECT process, size FROM tenants_lease", database="control")
        return {int(process.split()[1].partition("@")[0]): size for process, size in rows}


def run(server: SmallServer, count: int, seconds: float) -> None:
    fleet = Fleet(server, tenants(server, count))
    fleet.start(PROCESSES)
    fleet.watch(seconds)
    killed = fleet.kill(2)
    fleet.start(2)
    fleet.watch(seconds)
    waiting_until = time.monotonic() + 2 * EXPIRES_AFTER
    while set(killed) & set(fleet.leased()):
        assert time.monotonic() < waiting_until, "the leases of killed processes don't expire"
        fleet.watch(0.5)
    reports = fleet.stop()
    assert fleet.refusals() == []
    assert [error for report in reports for error in report["errors"]] == []
    assert len(reports) == PROCESSES
    assert all(report["served"] > 0 for report in reports), reports
    assert 0 < fleet.most <= LIMIT - RESERVE - 3  # the three that Postgres keeps for superusers
    # Those that borrow, the main one, the one that renews, and the few that open for the line.
    assert all(report["threads"] <= THREADS + 2 + MAX_OPENERS for report in reports)
    assert not set(fleet.pids) & set(fleet.leased())  # given back at the end
    print(
        f"\n{PROCESSES} processes, {count} tenants: at most {fleet.most} backends of {LIMIT}, served"
        f" {sum(report['served'] for report in reports)} (least {min(report['served'] for report in reports)}),"
        f" timed out {sum(report['refused'] for report in reports)}"
    )


def test_twelve_processes_never_exhaust_a_server(server: SmallServer) -> None:
    run(server, 48, 5.0)


@pytest.mark.scenario
def test_twelve_processes_never_exhaust_a_server_with_three_hundred_tenants(server: SmallServer) -> None:
    run(server, 300, 20.0)


def test_control_without_leases_they_do(server: SmallServer) -> None:
    fleet = Fleet(server, tenants(server, 48), POOL_LEASES="0")
    fleet.start(PROCESSES)
    fleet.watch(3.0)
    errors = [error for report in fleet.stop() for error in report["errors"]]
    assert any(words in error for error in errors for words in FULL)
    assert fleet.refusals()
