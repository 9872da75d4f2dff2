"""The supervisor: what dies is started again, what never gets ready stops everything with its reason."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tenants.devstack.errors import PartFailed
from tenants.devstack.folder import DataFolder
from tenants.devstack.leftovers import is_alive
from tenants.devstack.process import Process
from tenants.devstack.supervisor import Supervisor


class Steady(Process):
    """Ready once it has made its file; its child in the same group lives as long as it isn't ended."""

    name = "steady"

    def command(self) -> list[str]:
        return ["sh", "-c", "sleep 600 & touch made; wait"]

    def is_ready(self) -> bool:
        return (self.folder.path / "made").exists()


class Broken(Process):
    name = "broken"

    def command(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('the flux is reversed')"]

    def is_ready(self) -> bool:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path / "data")
    folder.open()
    yield folder
    folder.close()


def look_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        supervisor.look()
        time.sleep(0.02)


def test_what_dies_is_named_and_started_again(folder: DataFolder) -> None:
    said: list[str] = []
    changes: list[int | None] = []
    part = Steady(folder)
    supervisor = Supervisor(say=said.append, changed=lambda: changes.append(part.pid))
    supervisor.launch(part)
    supervisor.wait_ready()
    first = part.pid
    part.kill()
    look_until(supervisor, lambda: len(changes) == 2)
    assert changes == [first, part.pid]
    assert said[0].startswith(f"steady (pid {first}) was ended by SIGKILL; starting it again")
    assert said[1] == f"steady (pid {part.pid}) is ready again"
    part.stop()


def test_what_a_dead_part_left_behind_is_ended_first(folder: DataFolder) -> None:
    part = Steady(folder)
    supervisor = Supervisor(say=lambda sentence: None)
    supervisor.launch(part)
    supervisor.wait_ready()
    assert part.pid
    children = psutil.Process(part.pid).children()
    assert children
    part.kill()
    look_until(supervisor, lambda: part.is_alive)
    assert not any(is_alive(child) for child in children)
    part.stop()


def test_what_never_gets_ready_stops_all_with_its_last_lines(folder: DataFolder) -> None:
    said: list[str] = []
    supervisor = Supervisor(say=said.append, backoff=0.01)
    supervisor.launch(Broken(folder))
    with pytest.raises(PartFailed, match=r"(?s)broken failed to become ready 5 times in a row.*the flux is reversed"):
        supervisor.wait_ready()
    assert len(said) == 4
