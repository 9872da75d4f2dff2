"""SIGTERM reaches Celery's main process; the processes of its pool hear of it through a byte of memory that they share with it."""

from __future__ import annotations

import mmap

_asked = mmap.mmap(-1, 1)  # anonymous and shared: a forked child sees what its parent writes


def ask() -> None:
    """Have every job of this worker handed back at its next step. Called in the main process, and by the signal handler."""
    _asked[0] = 1


def withdraw() -> None:
    """Forget that it was asked for: a worker starts."""
    _asked[0] = 0


def is_asked_for() -> bool:
    """Whether this worker is stopping."""
    return _asked[0] == 1
