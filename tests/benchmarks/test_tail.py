"""The live tail at size: 500 clients of one `stream` process, 20 events a second, from the commit to each client. Run by `make bench`.

The events go the whole way: POST to `web`, outbox, hint, the relay in the worker, MongoDB, change stream, `stream`. In the ordinary suite:
tests/tail/test_follow.py, 40 clients and not timed.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import psutil
import pytest

from tests.system import System

pytestmark = pytest.mark.bench

CLIENTS = 500
RATE = 20
SECONDS = 30
ROUNDS = 3
_NUMBER = re.compile(rb'"n":(\d+)')


class Following(asyncio.Protocol):
    """A client that notes when each event's number came."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.came: list[tuple[int, float]] = []
        self.is_open = asyncio.get_running_loop().create_future()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.head)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        text = self._rest + data
        if not self.is_open.done():
            self.is_open.set_result(text.split(b" ", 2)[1])
        end = text.rfind(b"\n\n") + 2  # what is behind is an event that hasn't come whole
        self._rest = text[end:]
        self.came += [(int(number), now) for number in _NUMBER.findall(text[:end])]


def post_events(system: System, slug: str, token: str, first: int, done: dict[int, tuple[float, float]]) -> None:
    """POST events at the rate; when each was sent, and when its commit was known."""
    with system.client(slug, token=token) as client:
        began = time.monotonic()
        for number in range(first, first + RATE * SECONDS):
            wait = began + (number - first) / RATE - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sent = time.monotonic()
            event = {"action": "bench.measured", "data": {"n": number}}
            assert client.post("/api/v1/activity", json=event).status_code == 201
            done[number] = (sent, time.monotonic())


async def measure(system: System, first: int) -> tuple[list[float], list[float], float]:
    """The milliseconds from the commit, and from the request, to each client, and the share of a processor that `stream` took."""
    demo = system.tenant("acme")
    url = urlsplit(system["stream"])
    head = (
        f"GET /api/v1/activity/stream?action=bench.measured HTTP/1.1\r\nHost: acme.{system['base_domain']}:{url.port}\r\n"
        f"Authorization: Bearer {demo['token']}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    clients: list[Following] = []
    while (
        len(clients) < CLIENTS
    ):  # not all at once: a tenant's line for connections is shorter, and who is too many gets 503
        some = [(await loop.create_connection(lambda: Following(head), "127.0.0.1", url.port))[1] for _ in range(20)]
        async with asyncio.timeout(60):
            assert set(await asyncio.gather(*(client.is_open for client in some))) == {b"200"}
        clients += some
    (worker,) = psutil.Process(system["pids"]["stream"]).children() or [psutil.Process(system["pids"]["stream"])]
    worker.cpu_percent()
    done: dict[int, tuple[float, float]] = {}
    posting = threading.Thread(target=post_events, args=(system, "acme", demo["token"], first, done))
    posting.start()
    while posting.is_alive():
        await asyncio.sleep(0.2)
    busy = worker.cpu_percent() / 100
    wanted = Counter(range(first, first + RATE * SECONDS))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(len(client.came) < len(wanted) for client in clients):
        await asyncio.sleep(0.2)
    assert all(Counter(number for number, _ in client.came) == wanted for client in clients)
    commits = [1000 * (at - done[number][1]) for client in clients for number, at in client.came]
    requests = [1000 * (at - done[number][0]) for client in clients for number, at in client.came]
    for client in clients:
        client.transport.close()
    return commits, requests, busy


def test_from_the_commit_to_each_of_500_clients(system: System) -> None:
    found = []
    for number in range(ROUNDS):
        commits, requests, busy = asyncio.run(measure(system, 1 + number * RATE * SECONDS))
        quantiles = statistics.quantiles(commits, n=100)
        found.append(quantiles[98])
        print(
            f"\n{CLIENTS} clients, {RATE} events/s, {len(commits)} deliveries: from the commit p50 {quantiles[49]:.0f} ms,"
            f" p99 {quantiles[98]:.0f} ms, longest {max(commits):.0f} ms; from the request p99"
            f" {statistics.quantiles(requests, n=100)[98]:.0f} ms; stream at {busy:.0%} of a processor",
            end="",
        )
    print(f"\np99 {statistics.median(found):.0f} ms ({min(found):.0f} to {max(found):.0f})")
    assert statistics.median(found) < 500
