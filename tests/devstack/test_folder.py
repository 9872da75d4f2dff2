"""A data folder that can't be used is refused with a sentence, and what a kill left half-made is made again."""

import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tenants.devstack.errors import FolderUnusable
from tenants.devstack.folder import DataFolder
from tenants.devstack.leftovers import is_alive
from tenants.devstack.servers import EmbeddedServers

PROJECT = Path(__file__).parents[2]


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(FolderUnusable, match="can't be written"):
        DataFolder("/proc/tenantry").open()


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FolderUnusable, match="aren't Tenantry's"):
        DataFolder(tmp_path).open()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    first = DataFolder(tmp_path)
    first.open()
    with pytest.raises(FolderUnusable, match="in use by another run"):
        DataFolder(tmp_path).open()
    first.close()
    second = DataFolder(tmp_path)
    second.open()
    second.close()


def test_secrets_are_kept_and_are_their_owners_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.open()
    first = folder.secret("secret_key")
    folder.close()
    assert DataFolder(tmp_path).secret("secret_key") == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_databases_without_their_secrets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "primary").mkdir(parents=True)
    with pytest.raises(FolderUnusable, match=r"no secrets\.json"):
        DataFolder(tmp_path).secret("postgres_password")


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    port = folder.ports("redis")["redis"]
    assert folder.ports("redis")["redis"] == port
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        assert folder.ports("redis")["redis"] != port


def test_a_damaged_cluster_is_named_and_not_touched(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path, replica=False, durable=False)
    servers.open()
    servers.folder.secret("postgres_password")
    (tmp_path / "postgres" / "primary").mkdir()
    with pytest.raises(FolderUnusable, match="damaged"):
        servers.start()
    servers.stop()
    assert (tmp_path / "postgres" / "primary").exists()


@pytest.mark.parametrize("half_made", ["primary.new", "replica.new"])
def test_start_killed_in_the_middle_is_made_up_for(tmp_path: Path, half_made: str) -> None:
    script = f"""
from tenants.devstack.leftovers import is_alive
from tenants.devstack.servers import EmbeddedServers
with EmbeddedServers({str(tmp_path / "data")!r}, durable=False):
    input()
"""
    starter = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdin=subprocess.PIPE)
    half = tmp_path / "data" / "postgres" / half_made
    deadline = time.monotonic() + 30
    while not (half / "base").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    starter.kill()
    starter.communicate()
    assert half.exists()

    with EmbeddedServers(tmp_path / "data", durable=False) as servers:
        assert servers.replica.is_streaming()
        assert not half.exists()


def test_what_a_killed_run_left_is_ended_before_the_next_start(tmp_path: Path) -> None:
    # Started in a thread, so that the kernel doesn't end them together with their parent.
    script = f"""
import os, signal, threading
from tenants.devstack.leftovers import is_alive
from tenants.devstack.servers import EmbeddedServers
servers = EmbeddedServers({str(tmp_path)!r}, replica=False, durable=False)
def start():
    servers.open()
    servers.start()
    print(*servers.pids.values(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
thread = threading.Thread(target=start)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 3
    processes = [psutil.Process(pid) for pid in pids]
    assert all(is_alive(process) for process in processes)

    servers = EmbeddedServers(tmp_path, replica=False, durable=False)
    ended = servers.open()
    assert len(ended) == 3
    assert not any(is_alive(process) for process in processes)
    servers.start()
    servers.stop()
