"""Scenario 6: web, worker, the process that relays and MongoDB are killed at random while audited writes go on.

What MongoDB has in the end is what was committed: nothing lost, nothing invented, nothing twice, in order. 150 writes and a kill of each
here; `make scenarios` makes 10,000 writes and forty kills. The control is in tests/activity/test_record_kills.py.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient

from tests.faults.test_kills import Writer, answers, children
from tests.journeys.test_real_input import pages
from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")

VICTIMS = ("web", "worker", "relay", "mongo")


def kill(system: System, victim: str, chance: random.Random) -> None:
    """SIGKILL a part, or one of its processes; `relay` is whichever of the worker's children it is, since all of them relay."""
    part = "worker" if victim == "relay" else victim
    parent = int(system.reload()["pids"][part])
    inner = children(parent)
    pid = chance.choice(inner).pid if inner and (victim == "relay" or chance.random() < 0.5) else parent
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if pid == parent:
        wait_for(lambda: system.reload()["pids"][part] != parent, timeout=60, what=f"a new {part}")


def write_and_kill(system: System, writes: int, kills: int) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    writers = [Writer(system, f"audited-{uuid4().hex[:8]}") for _ in range(3)]
    for writer in writers:
        writer.start()

    def written() -> int:
        return sum(len(writer.acknowledged) for writer in writers)

    victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
    chance.shuffle(victims)
    try:
        for number, victim in enumerate(victims, start=1):
            due = writes * number // (kills + 1)
            wait_for(lambda due=due: written() >= due, timeout=600, what=f"{due} writes")
            kill(system, victim, chance)
        wait_for(lambda: written() >= writes, timeout=1200, what=f"{writes} writes")
    finally:
        for writer in writers:
            writer.ended.set()
        for writer in writers:
            writer.join()
    wait_for(lambda: answers(system), timeout=60, what="an answer of web")
    check(system, writers)
    print(f"seed {seed}, {written()} acknowledged, killed in turn: {', '.join(victims)}")


def check(system: System, writers: list[Writer]) -> None:
    """Compare what Postgres has with what MongoDB has, and each writer's order with the log's."""
    with system.client("acme", token=system.tenant("acme")["token"]) as client:
        members = {item["email"]: item["id"] for item in pages(client, "/api/v1/members", q="audited-")}
    mine = {email: pk for email, pk in members.items() if email.startswith(tuple(writer.prefix for writer in writers))}
    log: MongoClient[dict[str, Any]] = MongoClient(system.reload()["mongo"])
    try:
        collection = log.get_default_database()["activity_events"]

        def logged() -> list[dict[str, Any]]:
            found = collection.find({"action": "member.created"}, {"seq": 1, "tenant": 1, "target": 1})
            return [document for document in found if document["target"]["id"] in set(mine.values())]

        wait_for(lambda: len(logged()) >= len(mine), timeout=120, interval=0.5, what="all events")
        documents = logged()
        numbers = {document["target"]["id"]: document["seq"] for document in documents}
        assert len(documents) == len(numbers) == len(mine)
        assert set(numbers) == set(mine.values())
        (tenant,) = {document["tenant"] for document in documents}
        seqs = sorted(document["seq"] for document in collection.find({"tenant": tenant}, {"seq": 1}))
        assert seqs == list(range(1, len(seqs) + 1))
    finally:
        log.close()
    for writer in writers:
        order = [numbers[mine[email]] for email in writer.acknowledged]
        assert len(order) > 10, "hardly anything was written: the check would prove nothing"
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("writes", "kills"), [(150, 4), pytest.param(10_000, 40, marks=pytest.mark.scenario)], ids=["150", "10,000"]
)
def test_what_is_logged_is_what_was_committed(system: System, writes: int, kills: int) -> None:
    write_and_kill(system, writes, kills)
