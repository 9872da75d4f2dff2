"""Front ends of this test run's servers, started for real: gunicorn with the project's own configuration."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.operations.processes import ROOT, FrontEnd, Started, free_port, front_end, program

Start = Callable[..., FrontEnd]


@pytest.fixture(scope="session")
def collected_static() -> None:
    """The static files where `web` serves them from: pages name them by the manifest's hashes."""
    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        command = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, check=True)  # not in this process, whose pages are made without a manifest


@pytest.fixture(scope="package")
def fronts(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, collected_static: None
) -> Iterator[dict[str, FrontEnd]]:
    """`web` with two workers and `stream`, for tests that leave them as they are."""
    folder = tmp_path_factory.mktemp("fronts")
    with ExitStack() as stack:
        yield {kind: stack.enter_context(front_end(folder, kind, WEB_CONCURRENCY="2")) for kind in ("web", "stream")}


@pytest.fixture(params=["web", "stream"])
def front(request: pytest.FixtureRequest, fronts: dict[str, FrontEnd]) -> FrontEnd:
    """Each of the two."""
    return fronts[request.param]


@pytest.fixture
def start(tmp_path: Path, django_db_setup: None, collected_static: None) -> Iterator[Start]:
    """Start a front end for one test: `start("web", VARIABLE="…")`."""
    with ExitStack() as stack:

        def run(kind: str, *arguments: str, **variables: str) -> FrontEnd:
            return stack.enter_context(front_end(tmp_path, kind, *arguments, **variables))

        yield run


@pytest.fixture
def start_program(tmp_path: Path, django_db_setup: None) -> Iterator[Callable[..., Started]]:
    """Start a Python program for one test: `start_program("celery", …, process="worker")`."""
    with ExitStack() as stack:

        def run(*arguments: str, **options: Any) -> Started:
            return stack.enter_context(program(tmp_path, *arguments, **options))

        yield run


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    return free_port()
