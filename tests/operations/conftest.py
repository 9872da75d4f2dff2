"""Front ends of this test run's servers, started for real: gunicorn with the project's own configuration."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from tests.operations.processes import FrontEnd, Started

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def collected_static() -> None:
    """The static files where `web` serves them from: pages name them by the manifest's hashes."""
    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port of the loopback interface that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Start a program with the project's environment, its variables changed by keywords; it is stopped after the test."""
    running: list[Started] = []

    def run(*arguments: str, process: str, **variables: str) -> Started:
        folder = tmp_path / f"{process}-{len(running)}"
        folder.mkdir()
        environment = {**os.environ, "TENANTRY_PROCESS": process, "METRICS_DIR": str(tmp_path / "metrics"), **variables}
        log = folder / "log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        running.append(Started(popen, log))
        return running[-1]

    yield run
    for started in running:
        started.stop()


@pytest.fixture
def front_end(start: Callable[..., Started], free_port: Callable[[], int]) -> Callable[..., FrontEnd]:
    """Start `web` or `stream` and wait until it is up."""

    def run(process: str, *arguments: str, **variables: str) -> FrontEnd:
        port = free_port()
        started = start(
            "gunicorn",
            "-c",
            "config/gunicorn_conf.py",
            *arguments,
            process=process,
            BIND=f"127.0.0.1:{port}",
            **variables,
        )
        found = FrontEnd(started, f"http://127.0.0.1:{port}")
        found.wait_until_up()
        return found

    return run
