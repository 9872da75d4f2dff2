"""One supervised child process: its command, its log, how to tell that it is ready, and how to end it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import ClassVar

import psutil

from tenants.devstack import leftovers
from tenants.devstack.errors import PartFailed
from tenants.devstack.folder import DataFolder
from tenants.devstack.leftovers import OWNER_VARIABLE
from tenants.devstack.unprivileged import Account

LOG_LIMIT = 20 * 1024 * 1024  # bytes, after which a log is put aside when its process starts


class Process:
    """Base of the parts of a stack: a subclass gives a name, a command and a readiness probe that returns at once.

    A child leads a process group of its own, so that Ctrl-C reaches `up` alone, which then ends the parts in order.
    """

    name: str
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_timeout: ClassVar[float] = 5.0  # seconds
    ready_timeout: ClassVar[float] = 60.0  # seconds

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.log = folder.logs / f"{self.name}.log"
        self.output: Path | None = None  # of what it prints, where that isn't part of the log
        self.account = Account()
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def command(self) -> list[str]:
        """The words to run."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """The variables of the process."""
        return os.environ

    def working_directory(self) -> Path:
        """Where the process starts."""
        return self.folder.path

    def is_ready(self) -> bool:
        """Whether it serves now."""
        raise NotImplementedError

    # --- State

    @property
    def pid(self) -> int | None:
        """The id of the process that was started last, dead or alive."""
        return self._child.pid if self._child else None

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def ending(self) -> str:
        """How the process ended, in words."""
        code = self._child.poll() if self._child else None
        if code is None:
            return "was not started" if self._child is None else "is running"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that the process wrote since it was started."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_start, self.log.stat().st_size - 8192))
                return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def failure(self, reason: str) -> PartFailed:
        """The error that says what became of this part."""
        return PartFailed(self.name, reason, self.log, self.log_tail())

    # --- Start and end

    def start(self) -> None:
        """Start the process and return at once."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log, self.output.open("wb") if self.output else nullcontext(log) as output:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                [*self.account.prefix, *self._die_with_parent(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                cwd=self.working_directory(),
                env={**self.environment(), OWNER_VARIABLE: str(self.folder.path)},
                start_new_session=True,
                **self.account.popen_arguments,
            )

    def _die_with_parent(self) -> list[str]:
        """Have the kernel send the stop signal when this process is killed.

        The kernel does so when the *thread* that started the child ends, so it is asked for from the main thread alone.
        """
        if threading.current_thread() is threading.main_thread() and shutil.which("setpriv"):
            return ["setpriv", "--pdeathsig", self.stop_signal.name.removeprefix("SIG"), "--"]
        return []

    def wait_ready(self, timeout: float | None = None, *, tick: Callable[[], None] = lambda: None) -> None:
        """Return when the part is ready, calling `tick` while waiting.

        Raises PartFailed when the process ends first or `timeout` seconds have passed.
        """
        limit = self.ready_timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        while not self.is_ready():
            if not self.is_alive and not self.is_ready():  # a command may have ended well between the two questions
                raise self.failure(f"{self.ending} before it was ready")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready within {limit:.0f} seconds")
            tick()
            time.sleep(0.05)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self._child is not None and self.is_alive:
            self._child.send_signal(number)

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end of the process; whether it has ended."""
        if self._child is None:
            return True
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, number: signal.Signals | None = None, timeout: float | None = None) -> None:
        """End the process with its stop signal, and kill what still runs `timeout` seconds later."""
        self.send_signal(number or self.stop_signal)
        self.finish(self.stop_timeout if timeout is None else timeout)

    def finish(self, timeout: float) -> None:
        """Wait for the end of a process that was told to stop, and kill what still runs `timeout` seconds later."""
        if not self.join(timeout):
            self.kill()
        self.end_group(grace=0)

    def kill(self) -> None:
        """End the process by SIGKILL, as a crash would."""
        self.send_signal(signal.SIGKILL)
        self.join(10)

    def restart(self) -> None:
        """End the process, start it again and wait until it is ready."""
        self.stop()
        self.start()
        self.wait_ready()

    def end_group(self, grace: float = 3.0) -> None:
        """End what a dead process left in its group (workers of a killed master still hold its port)."""
        if self._child is None or self.is_alive:
            return
        group = self._child.pid
        members = [process for process in psutil.process_iter() if _group_of(process) == group]
        _signal_group(group, signal.SIGTERM if grace else signal.SIGKILL)
        if leftovers.wait_for_end(members, timeout=grace):
            _signal_group(group, signal.SIGKILL)
            leftovers.wait_for_end(members, timeout=2)


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def stop_together(parts: Iterable[Process], timeout: float | None = None) -> None:
    """Tell all parts to stop, then wait for each: as long as the slowest one takes, at most `timeout` seconds."""
    parts = list(parts)
    started = time.monotonic()
    for part in parts:
        part.send_signal(part.stop_signal)
    for part in parts:
        limit = part.stop_timeout if timeout is None else timeout
        part.finish(max(0.0, started + limit - time.monotonic()))
