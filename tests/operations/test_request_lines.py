"""Each request leaves one line, which says whose it was and nothing secret."""

from __future__ import annotations

import pytest

from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd

SECRET = "S3cr3t-Value-0123456789abcdef"


def test_a_line_says_tenant_request_route_status_and_duration(front: FrontEnd) -> None:
    answer = front.get("/api/v1/me", host="acme.localhost", X_Request_ID="request-of-this-test")
    assert answer.status_code == 401
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "request-of-this-test"
    line = front.started.wait_for_line(event="request", request_id="request-of-this-test")
    assert line["tenant"] == "acme"
    assert line["method"] == "GET"
    assert line["route"] == "/api/v1/me"
    assert line["status"] == 401
    assert line["duration_ms"] > 0
    assert line["process"] in {"web", "stream"}


def test_the_next_request_of_a_thread_inherits_nothing(start: Start) -> None:
    web = start("web", WEB_CONCURRENCY="1", THREADS="1")
    web.get("/login", host="acme.localhost")
    assert web.get("/", host="nobody.example", X_Request_ID="from-nowhere").status_code == 404
    assert "tenant" not in web.started.wait_for_line(event="request", request_id="from-nowhere")


@pytest.mark.parametrize("kind", ["web", "stream"])
def test_no_secret_of_a_request_gets_into_the_log(start: Start, kind: str) -> None:
    front = start(kind, LOG_LEVEL="DEBUG")
    for path in (f"/?token={SECRET}", f"/welcome/{SECRET}", f"/nowhere/{SECRET}", f"/api/v1/me?key={SECRET}"):
        front.get(path, host="acme.localhost", Authorization=f"Bearer tnt_{SECRET}", Cookie=f"sessionid={SECRET}")
    front.get("/", host="acme.localhost", X_Request_ID="the-last-one")
    front.started.wait_for_line(event="request", request_id="the-last-one")
    assert SECRET not in front.started.log.read_text()


def test_probes_are_not_worth_a_line(front: FrontEnd) -> None:
    before = len(front.started.lines("request"))
    front.get("/live")
    front.get("/ready")
    front.get("/", X_Request_ID="after-the-probes")
    front.started.wait_for_line(event="request", request_id="after-the-probes")
    assert len(front.started.lines("request")) == before + 1
