"""`/live` and `/ready`, with parts that are really away."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator

import pytest

from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd

EACH_KIND = pytest.mark.parametrize("kind", ["web", "stream"])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word, like a server that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("host", ["localhost", "acme.localhost", "nobody.example", "127.0.0.1", "not a host"])
def test_both_answer_on_any_host(front: FrontEnd, host: str) -> None:
    assert front.get("/live", host=host).json() == {"state": "ok"}
    ready = front.get("/ready", host=host)
    assert (ready.status_code, ready.json()) == (200, {"state": "ok"})
    assert ready.headers["X-Request-ID"]
    assert ready.headers["Cache-Control"] == "no-store"


@EACH_KIND
def test_without_control_it_is_live_and_not_ready(start: Start, kind: str, closed_port: int) -> None:
    front = start(kind, CONTROL_DATABASE_URL=f"postgres://postgres@127.0.0.1:{closed_port}/control")
    assert front.get("/live").status_code == 200
    ready = front.get("/ready")
    assert (ready.status_code, ready.json()) == (503, {"state": "down"})


@EACH_KIND
def test_parts_that_are_away_degrade_and_are_named(start: Start, kind: str, closed_port: int) -> None:
    front = start(kind, REDIS_URL=f"redis://127.0.0.1:{closed_port}/0")
    ready = front.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"state": "degraded"})
    found = front.get("/ready?detail").json()
    assert {name for name in ("mongo", "valkey", "broker") if found[name]["state"] == "down"} == {"valkey", "broker"}


@EACH_KIND
def test_parts_that_hang_hold_nobody_up(start: Start, kind: str, silent_port: int) -> None:
    front = start(
        kind, MONGO_URL=f"mongodb://127.0.0.1:{silent_port}/x", REDIS_URL=f"redis://127.0.0.1:{silent_port}/0"
    )
    started = time.monotonic()
    assert front.get("/ready").json() == {"state": "degraded"}
    assert time.monotonic() - started < 5  # a second, and what a busy machine adds to it
    started = time.monotonic()
    assert front.get("/live").status_code == 200
    assert time.monotonic() - started < 2


def test_details_name_each_server_and_replica_with_its_lag(fronts: dict[str, FrontEnd]) -> None:
    found = fronts["web"].get("/ready?detail").json()
    assert found["state"] == "ok"
    assert found["control"]["latency_ms"] < 1000
    (server,) = found["servers"]
    assert server["name"] in json.loads(os.environ["TENANT_SERVERS"])
    (replica,) = server["replicas"]
    assert replica["state"] == "ok"
    assert replica["lag_bytes"] >= 0
    assert found["broker"]["queue_depth"] >= 0
    assert "pools" in found


def test_details_are_for_this_machine_alone(front: FrontEnd) -> None:
    assert front.get("/ready?detail").status_code == 200
    refused = front.get("/ready?detail", X_Forwarded_For="203.0.113.7")
    assert refused.status_code == 401
    assert refused.json()["request_id"] == refused.headers["X-Request-ID"]
    assert front.get("/ready?detail", X_Forwarded_For="203.0.113.7", Authorization="Bearer nope").status_code == 401
    assert front.get("/ready?detail", host="acme.localhost").status_code == 404
