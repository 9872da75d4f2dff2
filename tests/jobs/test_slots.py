"""A worker runs one job fewer at once than it has processes; a slot whose holder is gone is free."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from activity.jobs import slots


@pytest.fixture(autouse=True)
def no_worker_after() -> Iterator[None]:
    """This process is no worker again."""
    yield
    if slots._lock is not None:
        slots._lock.close()
    slots._count = slots._lock = slots._mine = None


@contextmanager
def holder() -> Iterator[int]:
    """Another process, a child as Celery's pool has them, which holds a slot until the block ends."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with slots.slot() as has_slot:
                os.write(tell, b"1" if has_slot else b"0")
                time.sleep(60)
        finally:
            os._exit(0)
    try:
        assert os.read(told, 1) == b"1"
        yield child
    finally:
        kill(child)
        os.close(told)
        os.close(tell)


def kill(child: int) -> None:
    """Kill the child, if it hasn't been, and wait until it is gone."""
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def is_free() -> bool:
    with slots.slot() as has_slot:
        return has_slot


def test_outside_of_a_worker_there_is_no_limit() -> None:
    with ExitStack() as stack:
        assert all(stack.enter_context(slots.slot()) for _ in range(10))


@pytest.mark.parametrize(("processes", "expected"), [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_one_process_is_left_for_what_is_short(processes: int, expected: int) -> None:
    slots.limit(processes)
    with ExitStack() as stack:
        for _ in range(expected):
            assert is_free()
            stack.enter_context(holder())
        assert not is_free()
    assert is_free()


def test_a_slot_is_given_back_at_the_end_of_its_block_even_by_an_error() -> None:
    slots.limit(2)
    with pytest.raises(ZeroDivisionError), slots.slot() as has_slot:
        assert has_slot
        raise ZeroDivisionError
    assert is_free()


def test_who_got_none_gives_none_back() -> None:
    slots.limit(2)
    with holder():
        assert not is_free()
        assert not is_free()


def test_the_slot_of_a_holder_that_was_killed_is_free() -> None:
    slots.limit(2)
    with holder() as child:
        assert not is_free()
        kill(child)
        assert is_free()


def test_the_slot_of_a_holder_that_was_stopped_is_free_when_its_lease_has_passed(settings: Any) -> None:
    slots.limit(2)
    with holder() as child:
        os.kill(child, signal.SIGSTOP)
        assert not is_free()
        settings.JOB_LEASE = 0.05
        time.sleep(0.1)
        assert is_free()


def test_a_holder_that_stamps_its_slot_keeps_it(settings: Any) -> None:
    """The control of the test above."""
    slots.limit(2)
    settings.JOB_LEASE = 0.05
    with slots.slot():
        time.sleep(0.1)
        slots.stamp()
        assert slots._take() is None
