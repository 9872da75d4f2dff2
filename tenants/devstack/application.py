"""Tenantry's own processes: web, stream, worker and beat, and the management commands that come before them."""

from __future__ import annotations

import hashlib
import http.client
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tenants.devstack.errors import PartFailed
from tenants.devstack.folder import DataFolder
from tenants.devstack.ports import HOST
from tenants.devstack.process import Process

PROJECT = Path(__file__).resolve().parents[2]


class Application(Process):
    """A process that runs the project's code in the environment of the stack."""

    # What is in flight may finish: gunicorn's and Celery's own limits come first.
    stop_timeout = 22.0

    def __init__(self, folder: DataFolder, variables: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.variables = {**variables, "TENANTRY_PROCESS": self.name, "GRACEFUL_TIMEOUT": "18"}

    def environment(self) -> Mapping[str, str]:
        return self.variables

    def working_directory(self) -> Path:
        return PROJECT


class FrontEnd(Application):
    """gunicorn; config/gunicorn_conf.py tells web and stream apart."""

    def __init__(self, folder: DataFolder, variables: Mapping[str, str], port: int) -> None:
        super().__init__(folder, {**variables, "BIND": f"{HOST}:{port}"})
        self.port = port

    def command(self) -> list[str]:
        return [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn_conf.py"]

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Web(FrontEnd):
    name = "web"


class Stream(FrontEnd):
    name = "stream"


class Worker(Application):
    name = "worker"
    node: ClassVar[str] = "worker@localhost"

    def __init__(self, folder: DataFolder, variables: Mapping[str, str]) -> None:
        super().__init__(folder, variables)
        self._broker = Celery("devstack", broker=variables["REDIS_URL"], set_as_current=False)

    def command(self) -> list[str]:
        # Alone on its broker it has no peers to look for, which saves a second.
        options = ["--hostname", self.node, "--concurrency", "2", "--without-mingle", "--without-gossip"]
        return [sys.executable, "-m", "celery", "--app", "config", "--quiet", "worker", "--loglevel", "INFO", *options]

    def is_ready(self) -> bool:
        try:
            return bool(self._broker.control.ping(destination=[self.node], timeout=0.3))
        except (
            OSError,
            OperationalError,
            RedisError,
        ):  # kombu lets through what a connection to a former Valkey raises
            return False


class Beat(Application):
    name = "beat"

    def __init__(self, folder: DataFolder, variables: Mapping[str, str]) -> None:
        super().__init__(folder, variables)
        self.pidfile = folder.run / "beat.pid"

    def command(self) -> list[str]:
        options = ["--schedule", str(self.folder.run / "beat-schedule"), "--pidfile", str(self.pidfile)]
        return [sys.executable, "-m", "celery", "--app", "config", "--quiet", "beat", "--loglevel", "INFO", *options]

    def start(self) -> None:
        self.pidfile.unlink(missing_ok=True)  # of a killed one, whose pid may be another process's by now
        super().start()

    def is_ready(self) -> bool:
        try:  # it writes the file once its schedule is loaded
            return int(self.pidfile.read_text(encoding="utf-8")) == self.pid
        except (OSError, ValueError):
            return False


class ManageCommand(Application):
    """A management command that runs to its end; what it prints is kept apart from its log."""

    ready_timeout = 300.0
    stop_timeout = 5.0

    def __init__(self, folder: DataFolder, variables: Mapping[str, str], *words: str) -> None:
        self.name = words[0]
        super().__init__(folder, {**variables})
        self.variables["TENANTRY_PROCESS"] = "cli"
        self.words = words
        self.output = folder.run / f"{self.name}.out"  # the demo's holds passwords, which don't belong in a log

    def command(self) -> list[str]:
        return [sys.executable, "manage.py", *self.words]

    def is_ready(self) -> bool:
        """Whether it has ended well."""
        return self._child is not None and self._child.poll() == 0

    def failure(self, reason: str) -> PartFailed:
        return PartFailed(
            f"manage.py {self.name}", reason.removesuffix(" before it was ready"), self.log, self.log_tail()
        )


class StaticFiles(ManageCommand):
    """Collects the files that whitenoise serves, which takes seconds, unless nothing that it reads has changed."""

    def __init__(self, folder: DataFolder, variables: Mapping[str, str]) -> None:
        super().__init__(folder, variables, "collectstatic", "--no-input", "--verbosity", "0")
        self._manifest = Path(variables["STATIC_ROOT"]) / "staticfiles.json"
        self._mark = folder.run / "collected"

    def is_current(self) -> bool:
        """Whether the files were collected from what is there now."""
        if not self._manifest.is_file() or not self._mark.is_file():
            return False
        return self._mark.read_text(encoding="utf-8") == self._fingerprint()

    def note(self) -> None:
        """Remember what the files were collected from."""
        self._mark.write_text(self._fingerprint(), encoding="utf-8")

    def _fingerprint(self) -> str:
        sources = [*PROJECT.glob("*/static/**/*"), *PROJECT.glob("config/*.py"), PROJECT / "requirements-dev.txt"]
        facts = [
            f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in sorted(sources) if path.is_file()
        ]
        return hashlib.sha256("\n".join([*facts, self.variables.get("TENANT_APPS", "")]).encode()).hexdigest()
