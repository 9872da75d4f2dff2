"""Watches the parts of a stack: waits until they are ready, and starts again what dies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tenants.devstack.process import Process

ATTEMPTS = 5  # to become ready, in a row
INTERVAL = 0.1  # seconds between two looks


@dataclass
class _Watched:
    part: Process
    ready: bool = False
    started_at: float = 0.0
    start_at: float | None = None
    failures: int = 0
    died: bool = False


class Supervisor:
    """Looks after parts, in the caller's thread.

    `say` gets a sentence for each thing that happens to a part; `changed` is called each time one has become ready.
    After its n-th failure in a row a part is started again n times `backoff` seconds later.
    """

    def __init__(
        self, *, say: Callable[[str], None], changed: Callable[[], None] = lambda: None, backoff: float = 0.5
    ) -> None:
        self._say = say
        self._backoff = backoff
        self._changed = changed
        self._watched: list[_Watched] = []

    def launch(self, *parts: Process) -> None:
        """Start parts and watch them; `wait_ready` waits for them."""
        for part in parts:
            watched = _Watched(part)
            self._watched.append(watched)
            self._start(watched)

    def wait_ready(self, *parts: Process) -> None:
        """Return when these parts, or all, are ready. Raises PartFailed when one fails to become so too often."""
        while not all(watched.ready for watched in self._watched if not parts or watched.part in parts):
            self.look()
            time.sleep(INTERVAL)

    def watch(self) -> None:
        """Look after the parts for ever. Raises PartFailed as `wait_ready` does."""
        while True:
            self.look()
            time.sleep(INTERVAL)

    def look(self) -> None:
        """Take one look at every part."""
        for watched in self._watched:
            if watched.start_at is not None:
                if time.monotonic() >= watched.start_at:
                    self._start(watched)
            elif watched.ready:
                self._look_at_ready(watched)
            else:
                self._look_at_starting(watched)

    def _look_at_ready(self, watched: _Watched) -> None:
        part = watched.part
        if part.is_alive:
            return
        self._say(f"{part.name} (pid {part.pid}) {part.ending}; starting it again (log: {part.log})")
        watched.ready, watched.died = False, True
        part.end_group()
        self._start(watched)

    def _look_at_starting(self, watched: _Watched) -> None:
        part = watched.part
        if not part.is_alive:
            self._failed(watched, f"{part.ending} before it was ready")
        elif part.is_ready():
            watched.ready = True
            if watched.died or watched.failures:
                self._say(f"{part.name} (pid {part.pid}) is ready again")
            watched.failures, watched.died = 0, False
            self._changed()
        elif time.monotonic() - watched.started_at > part.ready_timeout:
            part.stop()
            self._failed(watched, f"was not ready within {part.ready_timeout:.0f} seconds")

    def _failed(self, watched: _Watched, reason: str) -> None:
        watched.failures += 1
        part = watched.part
        if watched.failures >= ATTEMPTS:
            raise part.failure(f"failed to become ready {ATTEMPTS} times in a row; the last time it {reason}")
        self._say(
            f"{part.name} (pid {part.pid}) {reason}; attempt {watched.failures + 1} of {ATTEMPTS} (log: {part.log})"
        )
        part.end_group()
        watched.start_at = time.monotonic() + self._backoff * watched.failures  # what kept it from starting may pass

    def _start(self, watched: _Watched) -> None:
        watched.start_at = None
        watched.started_at = time.monotonic()
        watched.part.start()
