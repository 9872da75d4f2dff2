"""Each request leaves one line, which says whose it was and nothing secret."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.operations.processes import FrontEnd

SECRET = "S3cr3t-Value-0123456789abcdef"
pytestmark = pytest.mark.usefixtures("committed_tenant")


@pytest.mark.parametrize("kind", ["web", "stream"])
def test_a_line_says_tenant_request_route_status_and_duration(front_end: Callable[..., FrontEnd], kind: str) -> None:
    front = front_end(kind)
    answer = front.get("/api/v1/me", host="acme.localhost", X_Request_ID="request-of-this-test")
    assert answer.status_code == 401
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "request-of-this-test"
    line = front.started.wait_for_line(event="request", request_id="request-of-this-test")
    assert line["tenant"] == "acme"
    assert line["method"] == "GET"
    assert line["route"] == "/api/v1/me"
    assert line["status"] == 401
    assert line["duration_ms"] > 0
    assert line["process"] == kind


def test_the_next_request_of_a_thread_inherits_nothing(front_end: Callable[..., FrontEnd]) -> None:
    web = front_end("web", WEB_CONCURRENCY="1", THREADS="1")
    web.get("/login", host="acme.localhost")
    assert web.get("/", host="nobody.example", X_Request_ID="from-nowhere").status_code == 404
    assert "tenant" not in web.started.wait_for_line(event="request", request_id="from-nowhere")


@pytest.mark.parametrize("kind", ["web", "stream"])
def test_no_secret_of_a_request_gets_into_the_log(front_end: Callable[..., FrontEnd], kind: str) -> None:
    front = front_end(kind, LOG_LEVEL="DEBUG")
    for path in (f"/?token={SECRET}", f"/welcome/{SECRET}", f"/nowhere/{SECRET}", f"/api/v1/me?key={SECRET}"):
        front.get(path, host="acme.localhost", Authorization=f"Bearer tnt_{SECRET}", Cookie=f"sessionid={SECRET}")
    front.get("/", host="acme.localhost", X_Request_ID="the-last-one")
    front.started.wait_for_line(event="request", request_id="the-last-one")
    assert SECRET not in front.started.log.read_text()


def test_probes_are_not_worth_a_line(front_end: Callable[..., FrontEnd]) -> None:
    web = front_end("web")
    web.get("/live")
    web.get("/ready")
    web.get("/", X_Request_ID="the-last-one")
    web.started.wait_for_line(event="request", request_id="the-last-one")
    assert len(web.started.lines("request")) == 1
