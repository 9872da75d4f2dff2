"""SIGTERM to `up` under load: requests in flight finish, every process ends within 30 s, no backend stays behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")


@pytest.fixture
def own_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder: Path = tmp_path_factory.mktemp("stop")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    system = System(folder / "data")
    yield system
    system.stop()


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

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(statuses) > 20, timeout=60, what="twenty answers")
    processes = {pid for root in system["pids"].values() for pid in tree(root)}
    assert web_backends(system) > 0  # so that there is something to leave behind
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


def web_backends(system: System) -> int:
    with psycopg.connect(system["postgres"]["primary"], autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tenantry-web%'"
        ).fetchone()
    assert row is not None
    return int(row[0])
