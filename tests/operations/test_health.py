"""`/live` and `/ready`, with parts that are really away."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.operations.processes import FrontEnd

FRONT_ENDS = pytest.mark.parametrize("kind", ["web", "stream"])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word, like a server that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@FRONT_ENDS
@pytest.mark.usefixtures("committed_tenant")
def test_both_answer_on_any_host(front_end: Callable[..., FrontEnd], kind: str) -> None:
    front = front_end(kind)
    for host in ("localhost", "acme.localhost", "nobody.example", "127.0.0.1", "not a host"):
        assert front.get("/live", host=host).json() == {"state": "ok"}
        ready = front.get("/ready", host=host)
        assert (ready.status_code, ready.json()) == (200, {"state": "ok"})
        assert ready.headers["X-Request-ID"]
        assert ready.headers["Cache-Control"] == "no-store"


@FRONT_ENDS
def test_without_control_it_is_live_and_not_ready(
    front_end: Callable[..., FrontEnd], kind: str, free_port: Callable[[], int]
) -> None:
    url = f"postgres://postgres@127.0.0.1:{free_port()}/control"
    front = front_end(kind, CONTROL_DATABASE_URL=url)
    assert front.get("/live").status_code == 200
    ready = front.get("/ready")
    assert (ready.status_code, ready.json()) == (503, {"state": "down"})


@FRONT_ENDS
@pytest.mark.parametrize("part", ["MONGO_URL", "REDIS_URL"])
@pytest.mark.usefixtures("committed_tenant")
def test_a_part_that_is_away_degrades(
    front_end: Callable[..., FrontEnd], kind: str, part: str, free_port: Callable[[], int]
) -> None:
    scheme = "mongodb" if part == "MONGO_URL" else "redis"
    front = front_end(kind, **{part: f"{scheme}://127.0.0.1:{free_port()}/0"})
    ready = front.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"state": "degraded"})
    found = front.get("/ready?detail").json()
    away = {"mongo"} if part == "MONGO_URL" else {"valkey", "broker"}
    assert {name for name in ("mongo", "valkey", "broker") if found[name]["state"] == "down"} == away


@FRONT_ENDS
@pytest.mark.usefixtures("committed_tenant")
def test_parts_that_hang_hold_nobody_up(front_end: Callable[..., FrontEnd], kind: str, silent_port: int) -> None:
    front = front_end(
        kind, MONGO_URL=f"mongodb://127.0.0.1:{silent_port}/x", REDIS_URL=f"redis://127.0.0.1:{silent_port}/0"
    )
    started = time.monotonic()
    assert front.get("/ready").json() == {"state": "degraded"}
    assert time.monotonic() - started < 2.5
    started = time.monotonic()
    assert front.get("/live").status_code == 200
    assert time.monotonic() - started < 0.5


@pytest.mark.usefixtures("committed_tenant")
def test_details_name_each_server_and_replica_with_its_lag(front_end: Callable[..., FrontEnd]) -> None:
    found = front_end("web").get("/ready?detail").json()
    assert found["state"] == "ok"
    assert found["control"]["latency_ms"] < 900
    (server,) = found["servers"]
    assert server["name"] in json.loads(os.environ["TENANT_SERVERS"])
    (replica,) = server["replicas"]
    assert replica["state"] == "ok"
    assert 0 <= replica["lag_bytes"] < 50_000_000
    assert found["broker"]["queue_depth"] >= 0
    assert "pools" in found


@FRONT_ENDS
@pytest.mark.usefixtures("committed_tenant")
def test_details_are_for_this_machine_alone(front_end: Callable[..., FrontEnd], kind: str) -> None:
    front = front_end(kind)
    assert front.get("/ready?detail").status_code == 200
    refused = front.get("/ready?detail", X_Forwarded_For="203.0.113.7")
    assert refused.status_code == 401
    assert refused.json()["request_id"] == refused.headers["X-Request-ID"]
    assert front.get("/ready?detail", X_Forwarded_For="203.0.113.7", Authorization="Bearer nope").status_code == 401
    assert front.get("/ready?detail", host="acme.localhost").status_code == 404
