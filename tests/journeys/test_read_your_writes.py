"""With replay paused on the replica, whoever wrote something sees it: on the page, and through the API with the token of the write."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")


@pytest.fixture
def replica(system: System) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(system["postgres"]["replicas"][0], autocommit=True) as connection:
        yield connection
        connection.execute("SELECT pg_wal_replay_resume()")


def emails(client: httpx.Client, query: str, **headers: str) -> list[str]:
    answer = client.get("/api/v1/members", params={"q": query}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [item["email"] for item in answer.json()["items"]]


def transactions(replica: psycopg.Connection[Any]) -> int:
    row = replica.execute("SELECT sum(xact_commit) FROM pg_stat_database WHERE datname LIKE 'tenantry_t_%'").fetchone()
    assert row is not None
    return int(row[0])


def test_reads_reach_the_replica(system: System, replica: psycopg.Connection[Any]) -> None:
    before = transactions(replica)
    with system.client("acme", token=system.tenant("acme")["token"]) as client:
        for _ in range(50):
            emails(client, "nobody")
        # A backend adds its counts at most once a second, when it next does something.
        time.sleep(1.5)
        for _ in range(20):
            emails(client, "nobody")
    wait_for(lambda: transactions(replica) >= before + 20, timeout=15, what="reads counted by the replica")


def test_through_the_api_with_the_token_of_the_write(system: System, replica: psycopg.Connection[Any]) -> None:
    email = f"own-write-{uuid4().hex[:12]}@people.example"
    with system.client("acme", token=system.tenant("acme")["token"]) as client:
        replica.execute("SELECT pg_wal_replay_pause()")
        written = client.post("/api/v1/members", json={"email": email, "name": "Own Write"})
        assert written.status_code == 201, written.text
        client.cookies.clear()
        for _ in range(10):
            assert emails(client, email, **{"X-Read-After": written.headers["X-Read-After"]}) == [email]
        assert emails(client, email) == []  # the control: the replica, which is behind, serves who doesn't say
        assert emails(client, email, **{"X-Read-After": "nonsense"}) == [email]


def test_through_the_page(system: System, replica: psycopg.Connection[Any]) -> None:
    demo = system.tenant("acme")
    email = f"own-page-{uuid4().hex[:12]}@people.example"
    with system.client("acme", follow_redirects=True) as browser:
        form = browser.get("/login")
        signed_in = browser.post("/login", data={**hidden(form), "login": demo["email"], "password": demo["password"]})
        assert signed_in.status_code == 200, signed_in.text
        replica.execute("SELECT pg_wal_replay_pause()")
        page = browser.get("/members")
        sent = browser.post("/invitations", data={**hidden(page), "email": email, "role": "member"})
        assert sent.status_code == 200, sent.text
        for _ in range(5):
            assert email in browser.get("/members").text


def hidden(page: httpx.Response) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found is not None
    return {"csrfmiddlewaretoken": found[1]}
