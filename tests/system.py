"""The whole system, run by `manage.py up` as a person runs it, and a client for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

ROOT = Path(__file__).resolve().parents[1]
# What this test run's own processes are told, and the system under test must find out for itself.
OF_THE_TEST_RUN = {
    "CONTROL_DATABASE_URL", "TENANT_SERVERS", "MONGO_URL", "REDIS_URL", "SECRET_KEY", "CREDENTIALS_KEYS", "BASE_DOMAIN",
    "ACTIVITY_SIGNING_KEYS", "TENANTRY_DEV", "TENANTRY_PROCESS", "DATA_DIR", "TENANT_APPS", "DJANGO_SETTINGS_MODULE",
}  # fmt: skip


def free_ports() -> int:
    """A port that is free together with the next one: `web` takes the first and `stream` the second."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


class System(dict[str, Any]):
    """A running `up`: its `up.json` as a dictionary, re-read by `reload`."""

    def __init__(self, folder: Path, *options: str, variables: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.options = options
        self.variables = dict(variables or {})
        self.output = folder.parent / f"{folder.name}.out"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_ports()

    def start(self, timeout: float = 180.0) -> float:
        """Start `up` and wait until it is ready. Returns the seconds that took; raises with its output when it fails."""
        started = time.monotonic()
        environment = {name: value for name, value in os.environ.items() if name not in OF_THE_TEST_RUN}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable, "manage.py", "up", "--port", str(self.port), "--data", str(self.folder), *self.options,
                ],
                cwd=ROOT, env=environment | self.variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        while True:
            if self.process.poll() is not None or time.monotonic() - started > timeout:
                self.stop()
                raise AssertionError(f"`up` did not become ready:\n{self.output.read_text()[-4000:]}")
            try:
                self.reload()
                if self["pids"]["up"] == self.process.pid:
                    return time.monotonic() - started
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(0.1)

    def reload(self) -> System:
        """Read up.json again: a part that died has a new pid."""
        content = json.loads((self.folder / "up.json").read_text())
        self.clear()
        self.update(content)
        return self

    def stop(self, timeout: float = 40.0) -> float:
        """SIGTERM, as Ctrl-C does. Returns the seconds until the end; raises when it takes too long."""
        if self.process is None:
            return 0.0
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise
        return time.monotonic() - started

    def kill(self, part: str, sent: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a part by its name in up.json. Returns its pid."""
        pid = int(self.reload()["pids"][part])
        os.kill(pid, sent)
        return pid

    def client(
        self, slug: str | None = None, *, token: str | None = None, part: str = "web", **options: Any
    ) -> httpx.Client:
        """A client of a tenant's host, or of the control host. Names below localhost resolve in browsers, so Host is set."""
        url = urlsplit(self[part])
        host = f"{slug}.{self['base_domain']}" if slug else self["base_domain"]
        headers = {"Host": f"{host}:{url.port}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.Client(base_url=f"http://127.0.0.1:{url.port}", headers=headers, timeout=30.0, **options)

    def tenant(self, slug: str) -> dict[str, Any]:
        """A demo tenant's entry."""
        found: dict[str, Any] = next(tenant for tenant in self["tenants"] if tenant["slug"] == slug)
        return found


def wait_for(condition: Any, *, timeout: float = 10.0, interval: float = 0.05, what: str = "the condition") -> Any:
    """Call `condition` until what it returns is true, and return that. Raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout} s"
        time.sleep(interval)
