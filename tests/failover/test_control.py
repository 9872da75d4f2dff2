"""The control database fails over like any other: its URL names several hosts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.failover.cluster import Cluster
from tests.system import ROOT, wait_for

pytestmark = pytest.mark.xdist_group("failover")

# A process that writes to control again and again, and says how often that worked and failed.
WRITER = """
import time
from django.db import connection, DatabaseError
from tenants.context import use_control
with use_control(), connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS written (number int)")
for number in range(10**6):
    try:
        with use_control(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO written VALUES (%s)", [number])
        print("written", number, flush=True)
    except DatabaseError as error:
        print("failed", type(error.__cause__).__name__, flush=True)
    time.sleep(0.02)
"""


def control_url(cluster: Cluster, *nodes: str) -> str:
    parts = urlsplit(cluster.url("primary"))
    hosts = ",".join(f"127.0.0.1:{cluster.proxies[node].port}" for node in nodes)
    return f"postgres://{parts.username}:{parts.password}@{hosts}/postgres"


@contextlib.contextmanager
def writing(path: Path, url: str):  # type: ignore[no-untyped-def]
    environment = {**os.environ, "CONTROL_DATABASE_URL": url, "TENANT_SERVERS": "{}", "TENANTRY_PROCESS": "worker"}
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", WRITER],
            cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield lambda: path.read_text().splitlines()
        finally:
            process.kill()
            process.wait()


def written(lines: list[str]) -> int:
    return sum(line.startswith("written") for line in lines)


def test_control_moves_to_the_promoted_host(make_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    cluster = make_cluster(replicas=1)
    with writing(tmp_path / "out", control_url(cluster, "primary", "replica")) as lines:
        wait_for(lambda: written(lines()) > 20, timeout=30, what="writes to control")
        cluster.promote("replica")
        promoted = time.monotonic()
        wait_for(lambda: rows(cluster, "replica") > 30, timeout=15, what="writes on the new primary")
        print(f"on the new primary {time.monotonic() - promoted:.2f} s after its promotion")
        at_switch = rows(cluster, "primary")
        before = written(lines())
        wait_for(lambda: written(lines()) > before + 20, timeout=15, what="more writes")
    assert rows(cluster, "primary") == at_switch, "the old primary was written to after the switch"
    assert any("timeout" not in line for line in lines())
    assert sum(line.startswith("failed") for line in lines()) <= 2, lines()


def test_with_one_host_control_stays_where_it_was(make_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """The control of the test above."""
    cluster = make_cluster(replicas=1)
    with writing(tmp_path / "out", control_url(cluster, "primary")) as lines:
        wait_for(lambda: written(lines()) > 20, timeout=30, what="writes to control")
        cluster.promote("replica")
        time.sleep(1)
        before = rows(cluster, "primary")
        wait_for(lambda: rows(cluster, "primary") > before + 20, timeout=15, what="writes on the old primary")


def rows(cluster: Cluster, node: str) -> int:
    try:
        return int(cluster.execute(node, "SELECT count(*) FROM written")[0][0])
    except psycopg.errors.UndefinedTable:  # not replayed yet
        return 0
