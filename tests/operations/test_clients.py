"""The clients of MongoDB and Valkey: what is told of them, and their end."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from django.conf import settings
from structlog.testing import capture_logs

from tenants.clients import ClientState
from tests.operations.conftest import Start


def test_a_change_is_logged_once_and_not_by_each_who_notices() -> None:
    client = ClientState("valkey")
    with capture_logs() as lines:
        client.found()
        for _ in range(3):
            client.lost(TimeoutError())
        for _ in range(3):
            client.found()
        client.lost(None)
    told = [(line["event"], line["client"]) for line in lines]
    assert told == [("client_lost", "valkey"), ("client_found", "valkey"), ("client_lost", "valkey")]


def test_details_tell_each_clients_state_and_numbers(start: Start) -> None:
    web = start("web", WEB_CONCURRENCY="1", RATE_LIMIT="1000/m")
    assert web.get("/ready?detail").json()["clients"]["valkey"]["state"] == "unknown"
    web.get("/api/v1/me", host="acme.localhost", Authorization="Bearer tnt_nobody")
    valkey = web.get("/ready?detail").json()["clients"]["valkey"]
    assert (valkey["state"], valkey["connections"], valkey["kept"]) == ("ok", 1, 1)
    web.get("/activity", host="acme.localhost")


def test_a_client_whose_server_is_away_is_down_and_says_so_once(start: Start, closed_port: int) -> None:
    web = start("web", WEB_CONCURRENCY="1", RATE_LIMIT="1000/m", REDIS_URL=f"redis://127.0.0.1:{closed_port}/0")
    for _ in range(3):
        web.get("/api/v1/me", host="acme.localhost", Authorization="Bearer tnt_nobody")
    assert web.get("/ready?detail").json()["clients"]["valkey"]["state"] == "down"
    assert len(web.started.lines("client_lost")) == 1


def _connections(pid: int, url: str) -> int:
    port = urlsplit(url).port
    found: list[Any] = psutil.Process(pid).net_connections("tcp")
    return sum(connection.raddr != () and connection.raddr.port == port for connection in found)


@pytest.mark.parametrize("kind", ["web", "stream"])
def test_mongo_and_valkey_are_closed_at_sigterm(start: Start, kind: str) -> None:
    front = start(kind, WEB_CONCURRENCY="1", RATE_LIMIT="1000/m", LOG_LEVEL="DEBUG")
    front.get("/api/v1/me", host="acme.localhost", Authorization="Bearer tnt_nobody")
    (worker,) = psutil.Process(front.started.popen.pid).children()
    assert _connections(worker.pid, settings.REDIS_URL) >= 1  # the client's, and that of the listener for routes
    code, seconds = front.started.terminate()
    assert code == 0
    assert seconds < 20
    assert front.started.lines("client_not_closed") == []
    time.sleep(0.1)
    assert not psutil.pid_exists(worker.pid)
