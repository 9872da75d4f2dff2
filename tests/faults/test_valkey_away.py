"""Valkey is killed or stopped (scenario 27): requests go on, writes commit, and jobs end soon after it is back.

Here for six seconds; `make scenarios` has sixty.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
import redis

from tests.faults.test_mongo_away import asking, check_log
from tests.journeys.test_import_export import finished
from tests.journeys.test_read_your_writes import hidden
from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")


def test_jobs_end_though_valkey_is_killed_meanwhile(system: System) -> None:
    token = system.tenant("acme")["token"]
    prefix = uuid4().hex[:8]
    rows = "".join(f"{prefix}-{number}@people.example\n" for number in range(60_000))
    with system.client("acme", token=token) as client:
        sent = client.post("/api/v1/members/import", content=f"email\n{rows}", headers={"Content-Type": "text/csv"})
        job = sent.json()
        wait_for(lambda: client.get(f"/api/v1/jobs/{job['id']}").json()["done"] > 0, timeout=30, what="progress")
        worker = system["pids"]["worker"]
        former = system.kill("redis")
        second = client.post("/api/v1/jobs", json={"kind": "members.export", "params": {"q": prefix}})
        assert second.status_code == 202
        assert finished(client, job)["state"] == "succeeded"
        assert client.get(f"/api/v1/jobs/{job['id']}").json()["counts"]["created"] == 60_000
        wait_for(lambda: system.reload()["pids"]["redis"] != former, timeout=30, what="a new Valkey")
        export = finished(client, second.json())
        assert export["state"] == "succeeded"
        assert export["done"] == 60_000
    assert system.reload()["pids"]["worker"] == worker  # it went on: neither it nor its jobs were started anew


def kept_killed(system: System, seconds: float) -> None:
    """Whenever it is started anew it is killed again."""
    until, dead = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        if (pid := pid_of_valkey(system)) != dead:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            dead = pid
            assert not answers(system)
        time.sleep(0.05)
    wait_for(lambda: pid_of_valkey(system) != dead, timeout=60, what="a new Valkey")


def pid_of_valkey(system: System) -> int:
    """As it is now; other threads read `system` meanwhile."""
    return int(json.loads((system.folder / "up.json").read_text())["pids"]["redis"])


def kept_stopped(system: System, seconds: float) -> None:
    """It takes connections and says nothing, as behind a network that swallows what it is sent."""
    pid = pid_of_valkey(system)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not answers(system)
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def answers(system: System) -> bool:
    """Whether Valkey does, within a tenth of a second."""
    with redis.Redis.from_url(system["redis"], socket_timeout=0.1, socket_connect_timeout=0.1, retry=None) as client:
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


@contextmanager
def signed_in(system: System) -> Iterator[httpx.Client]:
    """A person's client, with a session."""
    person = system.tenant("acme")
    with system.client("acme") as client:
        form = {"login": person["email"], "password": person["password"], **hidden(client.get("/login"))}
        assert client.post("/login", data=form).status_code == 302
        yield client


@pytest.mark.parametrize("away", [kept_killed, kept_stopped])
@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.scenario)])
def test_requests_and_jobs_outlive_valkeys_absence(
    system: System, away: Callable[[System, float], None], seconds: float
) -> None:
    token = system.tenant("acme")["token"]
    jobs: list[dict[str, str]] = []
    pages: list[tuple[int, float]] = []

    with signed_in(system) as person, system.client("acme", token=token) as client, asking(system) as clients:
        ended = threading.Event()

        def work() -> None:
            while not ended.is_set():
                begun = time.monotonic()
                pages.extend(
                    (person.get(path).status_code, time.monotonic() - begun) for path in ("/", "/members", "/jobs")
                )
                sent = client.post("/api/v1/jobs", json={"kind": "members.export", "params": {"q": "away-"}})
                assert sent.status_code == 202, sent.text
                jobs.append(sent.json())
                ended.wait(seconds / 6)

        worker = threading.Thread(target=work)
        worker.start()
        struck = time.monotonic()
        try:
            away(system, seconds)
        finally:
            back = time.monotonic()
            ended.set()
            worker.join(60)
    assert len(jobs) >= 3
    assert {status for status, _ in pages} == {200}
    for each in clients:
        assert {status for _, _, status in each.writes} == {201}
        assert {status for _, _, status in each.reads} == {200}
    slowest = max(took for each in clients for begun, took, _ in (*each.writes, *each.reads) if struck <= begun < back)
    with system.client("acme", token=token) as client:
        assert {finished(client, job)["state"] for job in jobs} == {"succeeded"}  # within 60 s
    print(
        f"\n{away.__name__} for {back - struck:.0f} s: slowest request {slowest:.2f} s, page {max(took for _, took in pages):.2f} s;"
        f" {len(jobs)} jobs had ended {time.monotonic() - back:.1f} s after"
    )
    assert slowest < 5
    check_log(system, clients, timeout=60)
