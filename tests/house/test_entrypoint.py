"""The image's entry script starts each process itself, on real servers: what Docker would run, in a plain shell."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tenants.devstack.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".docker" / "entrypoint"

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The container's: the virtual environment first on PATH, a data folder and a port."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATA_DIR": str(tmp_path),
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": "1",
    }


@contextmanager
def started(*arguments: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([SCRIPT, *arguments], env=environment, cwd="/")
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=40)


def is_well(process: str, environment: dict[str, str]) -> bool:
    return (
        subprocess.run([SCRIPT, "health", process], env=environment, capture_output=True, check=False).returncode == 0
    )


def wait_until_well(process: subprocess.Popen[bytes], name: str, environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 120
    while not is_well(name, environment):
        assert process.poll() is None, f"{name} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{name} was not well in time"
        time.sleep(0.2)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.parametrize("name", ["web", "stream"])
def test_a_front_end_answers_and_ends_well(name: str, environment: dict[str, str]) -> None:
    assert not is_well(name, environment)
    with started(name, environment=environment) as process:
        wait_until_well(process, name, environment)
        assert "gunicorn" in command_of(process.pid)  # the script became it, so signals reach it
        with urllib.request.urlopen(f"http://127.0.0.1:{environment['PORT']}/ready", timeout=10) as answer:
            assert answer.status == 200
    assert process.returncode == 0


def test_the_worker_answers_its_health_check(environment: dict[str, str]) -> None:
    with started("worker", "--concurrency", "1", environment=environment) as process:
        wait_until_well(process, "worker", environment)
        assert "celery" in command_of(process.pid)
    assert process.returncode == 0


def test_beat_keeps_its_schedule(environment: dict[str, str]) -> None:
    assert not is_well("beat", environment)
    with started("beat", environment=environment) as process:
        wait_until_well(process, "beat", environment)
        assert "celery" in command_of(process.pid)
    assert process.returncode == 0


def test_manage_runs_a_management_command_and_hands_on_its_exit_code(environment: dict[str, str]) -> None:
    done = subprocess.run([SCRIPT, "manage", "no_such"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no_such" in done.stderr


def test_the_build_collects_the_static_files_with_the_settings_of_the_dockerfile(
    environment: dict[str, str], tmp_path: Path
) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    command = dockerfile.split("RUN SECRET_KEY")[1].split("\nUSER")[0]
    variables = {name: environment[name] for name in ("PATH", "DATA_DIR")} | {"STATIC_ROOT": str(tmp_path / "static")}
    subprocess.run(["sh", "-c", "SECRET_KEY" + command], env=variables, cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "static" / "staticfiles.json").is_file()
