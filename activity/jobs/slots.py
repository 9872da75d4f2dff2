"""How many jobs one worker runs at once: one fewer than it has processes, so that what takes milliseconds never waits for what takes hours.

The slots are in memory that Celery's main process shares with its pool. Each is a process id and the time of its last stamp, which the
job's heartbeat renews. A slot whose holder was killed is free at once, and one whose holder was stopped is free when the job's lease has
passed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from django.conf import settings

MOST: Final = 256
_SLOT: Final = struct.Struct("qd")  # process id; monotonic time in seconds, which all processes of a machine share

_memory = mmap.mmap(-1, MOST * _SLOT.size)
_count: int | None = None
_lock: IO[Any] | None = None
_mine: int | None = None


def limit(processes: int) -> None:
    """Set the number of slots for a pool of so many processes; called in the main process before it forks."""
    global _count, _lock
    _count = max(1, min(processes - 1, MOST))
    _lock = tempfile.TemporaryFile()  # noqa: SIM115  for the life of the worker
    _memory[:] = bytes(MOST * _SLOT.size)


@contextmanager
def slot() -> Iterator[bool]:
    """Hold a slot for the block; yields whether there was a free one. Outside of a worker there is no limit."""
    global _mine
    if _count is None:
        yield True
        return
    _mine = _take()
    try:
        yield _mine is not None
    finally:
        if _mine is not None:
            _write_if_mine(0, 0.0)
            _mine = None


def stamp() -> None:
    """Say that the job in this process's slot goes on."""
    if _mine is not None:
        _write_if_mine(os.getpid(), time.monotonic())


def _take() -> int | None:
    assert _count is not None
    with _locked():
        for number in range(_count):
            pid, stamped_at = _SLOT.unpack_from(_memory, number * _SLOT.size)
            if not pid or not _is_alive(pid) or time.monotonic() - stamped_at > settings.JOB_LEASE:
                _write(number, os.getpid(), time.monotonic())
                return number
    return None


def _write_if_mine(pid: int, stamped_at: float) -> None:
    """Change this process's slot, unless somebody has taken it over: a process that was stopped wakes up without one."""
    mine = _mine
    if mine is not None:
        with _locked():
            if _SLOT.unpack_from(_memory, mine * _SLOT.size)[0] == os.getpid():
                _write(mine, pid, stamped_at)


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time. The lock is a process's own, though the file is inherited, and ends with it."""
    assert _lock is not None
    fcntl.lockf(_lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(_lock, fcntl.LOCK_UN)


def _write(number: int, pid: int, stamped_at: float) -> None:
    _SLOT.pack_into(_memory, number * _SLOT.size, pid, stamped_at)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
