"""A thread of `web` stays with a busy connection for a moment, and never at the cost of another connection."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from tests.operations.conftest import Start


def test_one_connection_is_answered_again_and_again(start: Start) -> None:
    web = start("web", WEB_CONCURRENCY="1", THREADS="2")
    with httpx.Client(base_url=web.url) as client:
        answers = [client.get("/live") for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}


def test_requests_sent_at_once_over_one_connection_are_all_answered(start: Start) -> None:
    """Pipelined: the second one is in the server's buffer already, where no socket shows it."""
    web = start("web", WEB_CONCURRENCY="1", THREADS="2")
    address = urlsplit(web.url)
    request = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5) as client:
        client.sendall(request * 3)
        answer = b""
        while answer.count(b'{"state": "ok"}') < 3:
            part = client.recv(65536)
            assert part, answer
            answer += part


def test_more_connections_than_threads_are_served_in_turn(start: Start) -> None:
    web = start("web", WEB_CONCURRENCY="1", THREADS="2")

    def ask(number: int) -> set[int]:
        with httpx.Client(base_url=web.url, timeout=10) as client:
            return {client.get("/live").status_code for _ in range(20)}

    with ThreadPoolExecutor(12) as clients:
        assert set.union(*clients.map(ask, range(12))) == {200}
