"""A client that doesn't read holds nobody up, costs no memory, and gets all of it when it reads again. None takes a thread."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from django.db import transaction

from activity import outbox
from activity.events import Event
from tenants.context import use_tenant
from tests.operations.processes import FrontEnd
from tests.tail.conftest import Followed, faults
from tests.tail.listening import Listener

EVENTS = 750  # more than a channel keeps
SIZE = 150


@dataclass(frozen=True, kw_only=True)
class PageSaved(Event):
    action: ClassVar[str] = "page.saved"
    text: str


def record_large(followed: Followed, count: int) -> None:
    """Commit events so large that the sockets' buffers don't hold all of them, whatever the system allows these."""
    most = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2]) + (2 << 20)
    with use_tenant(followed.ref), transaction.atomic():
        for _ in range(count):
            outbox.record(PageSaved(text="x" * (most // EVENTS)))
    followed.settle()


def worker_of(stream: FrontEnd) -> psutil.Process:
    """The process that serves, below gunicorn's arbiter."""
    (worker,) = psutil.Process(stream.started.popen.pid).children()
    return worker


def held_back(stream: FrontEnd) -> int:
    """How many bytes the system holds for clients that haven't taken them."""
    port = int(stream.url.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(int(row[4].partition(":")[0], 16) for row in rows if int(row[1].rpartition(":")[2], 16) == port)


def test_a_client_that_does_not_read_holds_nobody_up(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        head = await asyncio.to_thread(followed.head)
        slow = await followed.listen(stream, receive_buffer=4096)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        quick = [await followed.listen(stream) for _ in range(5)]
        memory = worker_of(stream).memory_info().rss
        longest = 0.0
        for first in range(0, EVENTS, SIZE):
            count = min(SIZE, EVENTS - first)
            await asyncio.to_thread(record_large, followed, count)
            started = time.monotonic()
            got = await asyncio.gather(*(listener.take(count) for listener in quick))
            longest = max(longest, time.monotonic() - started)
            wanted = list(range(head + first + 1, head + first + count + 1))
            assert [faults(wanted, numbers) for numbers in got] == [[]] * 5
        assert longest < 5.0
        assert worker_of(stream).memory_info().rss - memory < 32 << 20
        assert held_back(stream) > 0  # it is the process that waits, not a buffer of the system that has all
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert faults(list(range(head + 1, head + EVENTS + 1)), await slow.take(EVENTS)) == []
        for listener in [slow, *quick]:
            listener.cut()

    asyncio.run(run())


def open_streams(stream: FrontEnd, followed: Followed, number: int) -> dict[str, Any]:
    """Open so many streams and see an event in each; the threads and the connections to Postgres before and while they are open."""

    async def run() -> dict[str, Any]:
        warm = [await followed.listen(stream) for _ in range(2)]
        await asyncio.sleep(2.5)  # the readers of the registry, and the question who may still read, are there
        before = worker_of(stream).num_threads()
        listeners: list[Listener] = []
        while len(listeners) < number:  # not all at once: beyond a tenant's line for connections there is 503
            listeners += await asyncio.gather(*(followed.listen(stream) for _ in range(20)))
        assert {listener.status for listener in listeners} == {200}
        await asyncio.to_thread(followed.record, 1)
        for listener in listeners:
            await listener.take(1)
        await asyncio.sleep(1.5)
        found = {"before": before, "threads": worker_of(stream).num_threads()}
        for listener in [*warm, *listeners]:
            listener.cut()
        return found

    return asyncio.run(run())


def test_sixty_open_streams_add_no_thread(stream: FrontEnd, followed: Followed) -> None:
    """At full size: test_five_hundred_open_streams_add_no_thread."""
    found = open_streams(stream, followed, 60)
    assert found["threads"] <= found["before"] + 1, found  # the registry's second reader may be new


@pytest.mark.scenario
def test_five_hundred_open_streams_add_no_thread(stream: FrontEnd, followed: Followed) -> None:
    found = open_streams(stream, followed, 500)
    print(f"\n{found}")
    assert found["threads"] <= found["before"] + 1, found
