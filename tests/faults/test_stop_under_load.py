"""SIGTERM to `up` under load: requests in flight finish, every process ends within 30 s, no backend stays behind."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.system import System

pytestmark = pytest.mark.xdist_group("system")


@pytest.fixture
def own_system(tmp_path_factory: pytest.TempPathFactory) -> System:
    folder: Path = tmp_path_factory.mktemp("stop")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    return System(folder / "data")


def test_in_flight_requests_finish_and_nothing_stays(own_system: System) -> None:
    system = own_system
    system.start()
    token = system.tenant("acme")["token"]
    statuses: list[int] = []
    cut: list[str] = []
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set() or system.process.poll() is None:  # type: ignore[union-attr]
            try:
                # A connection for each request: one that is kept open is closed by a server that stops, as HTTP allows.
                with system.client("acme", token=token) as client:
                    statuses.append(client.get("/api/v1/members").status_code)
            except httpx.ConnectError:
                if stopping.is_set():
                    return
                raise
            except httpx.HTTPError as error:
                cut.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    processes = {pid for root in system["pids"].values() for pid in tree(root)}
    tenants_backends(system)  # there are some while it runs
    stopping.set()
    took = system.stop()
    for thread in threads:
        thread.join()
    assert took < 30
    assert cut == []
    assert set(statuses) == {200}
    assert len(statuses) > 20
    deadline = time.monotonic() + 2
    while (left := [pid for pid in processes if psutil.pid_exists(pid) and alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def tree(pid: int) -> list[int]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    return []


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def tenants_backends(system: System) -> None:
    with psycopg.connect(system["postgres"]["primary"], autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tenantry-web%'"
        ).fetchone()
        assert row is not None
        assert row[0] > 0
