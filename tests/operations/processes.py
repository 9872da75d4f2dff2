"""Programs that tests start, and what they say."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(folder: Path, *arguments: str, process: str, **variables: str) -> Iterator[Started]:
    """A Python module that runs with the project's environment, some variables changed; it is stopped at the end."""
    environment = {**os.environ, "TENANTRY_PROCESS": process, "METRICS_DIR": f"{folder}/metrics", **variables}
    log = folder / f"{process}-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        started = Started(
            subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=output, stderr=output
            ),
            log,
        )
    try:
        yield started
    finally:
        started.stop()


@contextmanager
def front_end(folder: Path, kind: str, *arguments: str, **variables: str) -> Iterator[FrontEnd]:
    """`web` or `stream`, once it is up."""
    address = f"127.0.0.1:{free_port()}"
    command = ("gunicorn", "-c", "config/gunicorn_conf.py", *arguments)
    with program(folder, *command, process=kind, BIND=address, **variables) as started:
        found = FrontEnd(started, f"http://{address}")
        found.wait_until_up()
        yield found


@dataclass
class Started:
    """A program that runs for a test; its output is in `log`."""

    popen: subprocess.Popen[bytes]
    log: Path

    def terminate(self, timeout: float = 30.0) -> tuple[int, float]:
        """SIGTERM, and the exit code and the seconds that it took to end."""
        started = time.monotonic()
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout), time.monotonic() - started

    def stop(self) -> None:
        if self.popen.poll() is None:
            try:
                self.terminate(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log's lines, all of which must be JSON; those of one event when it is named."""
        lines = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [line for line in lines if event is None or line["event"] == event]

    def wait_until_ready(self) -> None:
        """Until a worker of Celery takes tasks."""
        self.wait_for_line(timeout=60, logger="celery.apps.worker", level="info")

    def wait_for_line(self, timeout: float = 30.0, **facts: Any) -> dict[str, Any]:
        """The first line with these facts, once it is there."""
        deadline = time.monotonic() + timeout
        while True:
            for line in self.lines():
                if all(line.get(name) == value for name, value in facts.items()):
                    return line
            assert time.monotonic() < deadline, f"no line with {facts} in:\n{self.log.read_text(encoding='utf-8')}"
            time.sleep(0.1)


@dataclass
class FrontEnd:
    """A gunicorn that listens on `url`."""

    started: Started
    url: str

    def get(self, path: str, *, host: str = "localhost", timeout: float = 10.0, **headers: str) -> httpx.Response:
        """GET a path of a host."""
        fields = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.get(f"{self.url}{path}", headers=fields, timeout=timeout)

    def wait_until_up(self, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                if self.get("/live", timeout=1).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            log = self.started.log.read_text(encoding="utf-8")
            assert self.started.popen.poll() is None, f"it ended:\n{log}"
            assert time.monotonic() < deadline, f"not up:\n{log}"
            time.sleep(0.1)
