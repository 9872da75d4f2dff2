"""`manage.py up` from an empty folder to a second start: the tests build on each other, in this order."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tenants.devstack import ports
from tenants.devstack.leftovers import find, is_alive

pytestmark = pytest.mark.xdist_group("devstack-up")

PROJECT = Path(__file__).parents[2]
PARTS = ["up", "web", "stream", "worker", "beat", "postgres-primary", "postgres-replica", "redis", "mongo"]


class Up:
    """One `manage.py up` on a folder and a port, started again as often as a test likes."""

    def __init__(self, folder: Path, port: int) -> None:
        self.data = folder / "data"
        self.port = port
        self.terminal = folder / "terminal.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "manage.py", "up", "--port", str(self.port), "--data", str(self.data), *words]

    def environment(self) -> dict[str, str]:
        # Nothing of the test run's own environment: `up` makes one.
        kept = {"PATH", "HOME", "LANG", "TMPDIR"}
        return {name: value for name, value in os.environ.items() if name in kept}

    def start(self) -> float:
        """Start it, wait until it is ready, and return the seconds that it took."""
        started = time.monotonic()
        with self.terminal.open("ab") as terminal:
            self.process = subprocess.Popen(
                self.command(), cwd=PROJECT, env=self.environment(), stdout=terminal, stderr=subprocess.STDOUT
            )
        self.wait(self.is_ready, 240)
        return time.monotonic() - started

    def wait(self, condition: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.05)

    def refused(self, *words: str) -> str:
        """Run it where it must refuse to start; the sentence on standard error."""
        done = subprocess.run(
            self.command(*words),
            cwd=PROJECT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    def is_ready(self) -> bool:
        # A killed one leaves its file behind.
        return self.process is not None and self.pids().get("up") == self.process.pid

    def pids(self) -> dict[str, int]:
        try:
            return dict(self.file()["pids"])
        except FileNotFoundError:
            return {}

    def file(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "up.json").read_text()))

    def printed(self) -> str:
        return self.terminal.read_text()

    def processor_time(self) -> float:
        """The seconds that it and all of its processes have computed so far."""
        assert self.process is not None
        everyone = [psutil.Process(self.process.pid), *find(self.data)]
        return sum(sum(process.cpu_times()[:4]) for process in everyone)

    def stop(self) -> float:
        """SIGTERM; the seconds until it has ended."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(40) == 0, self.printed()
        return time.monotonic() - started


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    port = ports.free_port()
    while not ports.is_free(port + 1):
        port = ports.free_port()
    up = Up(tmp_path_factory.mktemp("up"), port)
    up.start()
    yield up
    if up.process is not None and up.process.poll() is None:
        up.stop()


def status(url: str) -> int:
    with urllib.request.urlopen(f"{url}/ready", timeout=10) as answer:
        return int(answer.status)


def test_an_empty_folder_becomes_all_of_it(up: Up) -> None:
    content = up.file()
    assert list(content) == [
        "web",
        "stream",
        "base_domain",
        "tenants",
        "operator",
        "postgres",
        "mongo",
        "redis",
        "pids",
    ]
    assert sorted(content["pids"]) == sorted(PARTS)
    assert all(is_alive(psutil.Process(pid)) for pid in content["pids"].values())
    assert status(content["web"]) == 200
    assert status(content["stream"]) == 200
    assert content["base_domain"] == "localhost"
    assert sorted(content["operator"]) == ["email", "password", "token", "url"]
    for tenant in content["tenants"]:
        assert sorted(tenant) == ["email", "password", "slug", "token", "url"]
        assert tenant["url"] == f"http://{tenant['slug']}.localhost:{up.port}"
    assert content["tenants"]
    with psycopg.connect(content["postgres"]["replicas"][0]) as replica:
        assert replica.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_the_terminal_shows_where_to_sign_in(up: Up) -> None:
    content = up.file()
    printed = up.printed()
    assert content["web"] in printed
    for entry in (*content["tenants"], content["operator"]):
        assert entry["url"] in printed
        assert entry["password"] in printed


def test_what_holds_secrets_is_its_owners_alone(up: Up) -> None:
    for name in ("up.json", "secrets.json", "demo.json", "environment.json"):
        assert stat.S_IMODE((up.data / name).stat().st_mode) == 0o600
    assert up.file()["operator"]["password"] not in "".join(
        log.read_text(errors="replace") for log in up.data.glob("logs/*")
    )


def test_commands_in_another_terminal_mean_this_system(up: Up) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "tenant_list", "--json"],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(up.data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {tenant["slug"] for tenant in json.loads(done.stdout)} == {"acme", "globex"}


def test_each_part_has_a_log(up: Up) -> None:
    assert {log.stem for log in up.data.glob("logs/*.log")} >= set(PARTS) - {"up"}


def doctor(environment: dict[str, str]) -> tuple[int, dict[str, dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_doctor_finds_nothing_wrong_with_it(up: Up) -> None:
    code, findings = doctor(psutil.Process(up.file()["pids"]["web"]).environ())
    assert {check: finding for check, finding in findings.items() if finding["state"] != "ok"} == {}
    assert code == 0
    assert findings["replica local/replica1"]["found"].startswith("streams")


def test_doctor_says_what_to_do_about_what_is_away(up: Up) -> None:
    away = {"REDIS_URL": "redis://127.0.0.1:1/0", "MONGO_URL": "mongodb://127.0.0.1:1/tenantry"}
    code, findings = doctor(psutil.Process(up.file()["pids"]["web"]).environ() | away)
    assert code == 1
    assert {check for check, finding in findings.items() if finding["state"] == "failed"} == {"valkey", "mongo"}
    assert "Check REDIS_URL" in findings["valkey"]["advice"]


def test_doctor_names_the_variable_that_is_missing(up: Up) -> None:
    code, findings = doctor(up.environment())
    assert code == 1
    assert findings["settings"]["found"].startswith("Set SECRET_KEY")


def test_a_folder_in_use_is_refused(up: Up) -> None:
    assert f"in use by another run (pid {up.file()['pids']['up']})" in up.refused()


def test_a_port_in_use_is_refused(up: Up, tmp_path: Path) -> None:
    assert f"Port {up.port} is in use by" in up.refused("--data", str(tmp_path / "other"))


def test_a_folder_that_cannot_be_written_is_refused(up: Up) -> None:
    assert "can't be written" in up.refused("--data", "/proc/tenantry")


@pytest.mark.parametrize("name", ["web", "worker", "redis", "postgres-primary"])
def test_a_killed_part_is_named_and_started_again(up: Up, name: str) -> None:
    former = up.file()["pids"][name]
    os.kill(former, signal.SIGKILL)
    up.wait(lambda: up.file()["pids"][name] != former, 60)
    assert f"{name} (pid {former}) was ended by SIGKILL; starting it again" in up.printed()
    up.wait(lambda: status(up.file()["web"]) == 200, 20)


def test_sigterm_ends_every_process(up: Up) -> None:
    assert up.stop() < 30
    assert find(up.data) == []
    assert not (up.data / "up.json").exists()


def test_a_second_start_is_quick_and_finds_everything_again(up: Up) -> None:
    former = json.loads((up.data / "demo.json").read_text())
    # Other tests run beside this one; on two cores of its own it has 30 s of processor time for 15 s.
    assert up.start() < 15 or up.processor_time() < 25
    assert up.file()["operator"]["token"] == former["operator"]["token"]
    assert [tenant["token"] for tenant in up.file()["tenants"]] == [tenant["token"] for tenant in former["tenants"]]


def test_a_killed_up_takes_its_processes_with_it_and_starts_again(up: Up) -> None:
    assert up.process is not None
    up.process.kill()
    up.process.wait()
    up.start()
    assert status(up.file()["web"]) == 200
    assert {part for process in find(up.data) if (part := process.pid) in up.file()["pids"].values()} >= set(
        up.file()["pids"].values()
    ) - {up.process.pid}
