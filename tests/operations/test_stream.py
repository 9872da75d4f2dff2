"""`stream`: native routes beside Django, and its end at SIGTERM."""

from __future__ import annotations

from contextlib import ExitStack

import httpx

from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd

STREAMS = 50


def test_open_streams_take_no_thread_and_end_at_sigterm(start: Start) -> None:
    stream = start("stream", "tests.operations.streaming_app:application")
    with ExitStack() as stack:
        limits = httpx.Limits(max_connections=STREAMS)
        client = stack.enter_context(httpx.Client(base_url=stream.url, limits=limits, timeout=20))
        bodies = []
        for _ in range(STREAMS):
            answer = stack.enter_context(client.stream("GET", "/forever"))
            assert answer.headers["X-Request-ID"]
            bodies.append(answer.iter_lines())
        threads = [int(next(body)) for body in bodies]
        assert max(threads) < 10

        stream.started.popen.terminate()
        assert [list(body) for body in bodies] == [["bye"]] * STREAMS  # each whole: none was cut
    assert stream.started.popen.wait(15) == 0


def test_a_native_route_that_fails_answers_500_with_its_request_id(start: Start) -> None:
    stream = start("stream", "tests.operations.streaming_app:application")
    answer = stream.get("/broken", X_Request_ID="look-for-this-one")
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == "look-for-this-one"
    line = stream.started.wait_for_line(event="native_route_failed", request_id="look-for-this-one")
    assert "it broke" in line["exception"]
    assert "not-for-the-log" not in stream.started.log.read_text()


def test_what_is_no_native_route_is_answered_by_django(fronts: dict[str, FrontEnd]) -> None:
    stream = fronts["stream"]
    assert stream.get("/", host="localhost").status_code == 200
    assert stream.get("/", host="nobody.example").status_code == 404


def test_sigterm_ends_it_soon_though_a_client_keeps_its_connection(start: Start) -> None:
    stream = start("stream")
    with httpx.Client(base_url=stream.url) as client:
        assert client.get("/live").status_code == 200
        code, seconds = stream.started.terminate()
    assert code == 0
    assert seconds < 12
