"""SIGKILL of the worker in mid-relay and of `web` in mid-request: no acknowledged member, and no event, lost, doubled or out of sequence.

Three kills of each here; `make scenarios` does twenty.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.journeys.test_real_input import pages
from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")


def children(pid: int) -> list[psutil.Process]:
    """The processes that do the work: gunicorn's workers, Celery's pool."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


class Writer(threading.Thread):
    """Creates members as fast as it can and remembers which of them were acknowledged."""

    def __init__(self, system: System, prefix: str) -> None:
        super().__init__()
        self.system, self.prefix = system, prefix
        self.acknowledged: list[str] = []
        self.attempts = 0
        self.ended = threading.Event()

    def run(self) -> None:
        token = self.system.tenant("acme")["token"]
        while not self.ended.is_set():
            with self.system.client("acme", token=token) as client, contextlib.suppress(httpx.HTTPError):
                while not self.ended.is_set():
                    self.attempts += 1
                    email = f"{self.prefix}-{self.attempts}@people.example"
                    if client.post("/api/v1/members", json={"email": email}).status_code == 201:
                        self.acknowledged.append(email)
            time.sleep(0.05)


def kill_while_writing(system: System, part: str, times: int) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    writers = [Writer(system, f"{part}-{uuid4().hex[:8]}") for _ in range(3)]
    for writer in writers:
        writer.start()
    killed = 0
    try:
        while killed < times:
            time.sleep(chance.uniform(0.5, 1.5))
            parent = int(system.reload()["pids"][part])
            victims = children(parent)
            # Every second time the whole part goes, else one of its processes.
            victim = parent if killed % 2 or not victims else chance.choice(victims).pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed += 1
            if victim == parent:
                wait_for(
                    lambda parent=parent: system.reload()["pids"][part] != parent, timeout=60, what=f"a new {part}"
                )
    finally:
        for writer in writers:
            writer.ended.set()
        for writer in writers:
            writer.join()
    wait_for(lambda: answers(system), timeout=60, what="an answer of web")
    check(system, writers)


def answers(system: System) -> bool:
    with system.client() as client, contextlib.suppress(httpx.HTTPError):
        return client.get("/ready").status_code == 200
    return False


def check(system: System, writers: list[Writer]) -> None:
    with system.client("acme", token=system.tenant("acme")["token"]) as client:
        for writer in writers:
            assert len(writer.acknowledged) > 5, "hardly anything was written: the check would prove nothing"
            members = {item["id"]: item["email"] for item in pages(client, "/api/v1/members", q=writer.prefix)}
            assert set(writer.acknowledged) <= set(members.values())

            def logged(members: dict[str, str] = members) -> list[dict[str, Any]]:
                return [
                    item
                    for item in pages(client, "/api/v1/activity", action="member.created")
                    if item["target"]["id"] in members
                ]

            # The sweep finds what no hint told of, even where the worker was killed with the hint in its hands.
            wait_for(
                lambda logged=logged, members=members: len(logged()) >= len(members), timeout=60, what="all events"
            )
            events = logged()
            assert len(events) == len({item["target"]["id"] for item in events}) == len(members)
        seqs = [item["seq"] for item in pages(client, "/api/v1/activity", order="oldest")]
        assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize("part", ["worker", "web"])
def test_three_kills_lose_nothing(system: System, part: str) -> None:
    kill_while_writing(system, part, 3)


@pytest.mark.scenario
@pytest.mark.parametrize("part", ["worker", "web"])
def test_twenty_kills_lose_nothing(system: System, part: str) -> None:
    kill_while_writing(system, part, 20)
