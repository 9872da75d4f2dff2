"""Scenario 28: MongoDB says nothing for a while (SIGSTOP): no request fails or waits for it, and what was recorded is relayed in order.

Ten seconds here; `make scenarios` has ten minutes, with the limits of the outbox set so low that they are reached, and compares how
long requests took. What happens without the breaker, and with a log that is written in the request, tests/activity/test_mongo_away.py
shows.
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from tests.journeys.test_real_input import pages
from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")

# Seconds for which MongoDB is away in the scenario; a tenth and more of it is measured before.
OUTAGE = int(os.environ.get("TENANTRY_OUTAGE_SECONDS", "600"))
PACE = 0.05  # seconds between two requests of a client, so that the machine isn't what is measured


class Client(threading.Thread):
    """Creates a member and reads some, again and again; keeps (begun at, seconds, status) of each."""

    def __init__(self, system: System) -> None:
        super().__init__(daemon=True)
        self.system = system
        self.prefix = f"away-{uuid4().hex[:8]}"
        self.created: list[str] = []
        self.writes: list[tuple[float, float, int]] = []
        self.reads: list[tuple[float, float, int]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        with self.system.client("acme", token=self.system.tenant("acme")["token"]) as client:
            while not self.ended.is_set():
                email = f"{self.prefix}-{len(self.created)}@people.example"
                self.writes.append(timed(lambda email=email: client.post("/api/v1/members", json={"email": email})))
                self.created.append(email)
                self.reads.append(timed(lambda: client.get("/api/v1/members", params={"limit": 5})))
                time.sleep(PACE)


def timed(ask: Any) -> tuple[float, float, int]:
    begun = time.monotonic()
    try:
        status = ask().status_code
    except httpx.HTTPError:
        status = 0
    return begun, time.monotonic() - begun, status


@contextmanager
def asking(system: System, count: int = 2) -> Iterator[list[Client]]:
    clients = [Client(system) for _ in range(count)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join(60)


@contextmanager
def stopped(system: System) -> Iterator[None]:
    system.kill("mongo", signal.SIGSTOP)
    try:
        yield
    finally:
        system.kill("mongo", signal.SIGCONT)


def median(answers: list[tuple[float, float, int]], start: float, end: float) -> float:
    return statistics.median(seconds for begun, seconds, _ in answers if start <= begun < end)


def check_log(system: System, clients: list[Client], timeout: float) -> None:
    """Every member's event is in MongoDB once, and each client's in its order."""
    with system.client("acme", token=system.tenant("acme")["token"]) as client:
        members = {item["email"]: item["id"] for item in pages(client, "/api/v1/members", q="away-")}
    mine = {email: members[email] for client in clients for email in client.created}
    log: MongoClient[dict[str, Any]] = MongoClient(system["mongo"])
    try:
        collection = log.get_default_database()["activity_events"]

        def numbers() -> list[tuple[str, int]]:
            found = collection.find({"action": "member.created"}, {"seq": 1, "target": 1})
            wanted = set(mine.values())
            return [(each["target"]["id"], each["seq"]) for each in found if each["target"]["id"] in wanted]

        wait_for(lambda: len(numbers()) >= len(mine), timeout=timeout, interval=0.5, what="the backlog's end")
        found = numbers()
    finally:
        log.close()
    by_id = dict(found)
    assert len(found) == len(by_id) == len(mine)
    for each in clients:
        order = [by_id[mine[email]] for email in each.created]
        assert order == sorted(order)


def test_ten_seconds_without_mongo_are_noticed_by_nobody(system: System) -> None:
    with asking(system) as clients:
        time.sleep(2)
        struck = time.monotonic()
        with stopped(system):
            time.sleep(10)
        back = time.monotonic()
    for client in clients:
        assert {status for _, _, status in client.writes} == {201}
        assert {status for _, _, status in client.reads} == {200}
        assert len([begun for begun, _, _ in client.writes if struck <= begun < back]) > 10
        assert max(seconds for begun, seconds, _ in client.writes if struck <= begun < back) < 2
    check_log(system, clients, timeout=30)


def batch(number: int) -> dict[str, Any]:
    """About a MiB."""
    events = [{"action": "load.sent", "data": {"text": "x" * 1000, "number": number}} for _ in range(1000)]
    return {"events": events}


@pytest.fixture
def low_limits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose outboxes are full at 8 MiB."""
    folder: Path = tmp_path_factory.mktemp("away")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    system = System(folder / "data", variables={"OUTBOX_ALARM_MB": "2", "OUTBOX_FULL_MB": "8"})
    system.start()
    yield system
    system.stop()


@pytest.mark.scenario
def test_ten_minutes_without_mongo(low_limits: System) -> None:
    system = low_limits
    host = system.client()
    token = system.tenant("acme")["token"]

    def outbox() -> dict[str, Any]:
        found: dict[str, Any] = host.get("/ready", params={"detail": ""}).json()["outbox"]
        return found

    with asking(system) as clients, system.client("acme", token=token) as product:
        time.sleep(10)
        warm = time.monotonic()
        time.sleep(min(60, OUTAGE))
        struck = time.monotonic()
        with stopped(system):
            sent = 0
            while (answer := product.post("/api/v1/activity/batch", json=batch(sent))).status_code == 200:
                sent += 1
                assert sent < 100, "nothing keeps the disk from being filled"
                time.sleep(0.5)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            wait_for(lambda: outbox()["state"] == "degraded", timeout=60, what="the alarm")
            assert product.get("/api/v1/activity").status_code == 503
            quiet = time.monotonic()
            time.sleep(max(0.0, OUTAGE - (time.monotonic() - struck)))
            size = outbox()["worst"][0]["bytes"]
            assert host.get("/metrics").text.count("tenantry_outbox_pending{") == 1
        back = time.monotonic()
        wait_for(lambda: outbox()["state"] == "ok", timeout=120, interval=1, what="the alarm's end")
        drained = time.monotonic() - back
        wait_for(
            lambda: product.post("/api/v1/activity/batch", json=batch(0)).status_code == 200, timeout=30, what="room"
        )
    host.close()
    for client in clients:
        assert {status for _, _, status in client.writes} == {201}
        assert {status for _, _, status in client.reads} == {200}
    check_log(system, clients, timeout=120)
    for what in ("writes", "reads"):
        answers = [answer for client in clients for answer in getattr(client, what)]
        before, meanwhile = median(answers, warm, struck), median(answers, quiet, back)
        print(
            f"{what}: median {before * 1000:.1f} ms before, {meanwhile * 1000:.1f} ms meanwhile ({meanwhile / before:.2f}x)"
        )
        assert meanwhile <= 1.1 * before
    print(
        f"{sent} batches of a MiB until refused; the outbox had {size / 2**20:.1f} MiB; the alarm ended {drained:.0f} s after"
    )
