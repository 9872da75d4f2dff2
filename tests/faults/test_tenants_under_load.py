"""Tenants are made and deleted while others are asked for: no request fails, and nothing of the deleted ones stays.

The control adds aliases to a stock ConnectionHandler while another thread walks them, as Django does three times a request.
"""

from __future__ import annotations

import json
import threading
import time
from uuid import uuid4

import httpx
import psycopg
import pytest
from django.db.utils import ConnectionHandler

from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")


@pytest.mark.parametrize("count", [4, pytest.param(40, marks=pytest.mark.scenario)])
def test_requests_go_on_while_tenants_come_and_go(system: System, count: int) -> None:
    """Four tenants here; `make scenarios` makes forty."""
    statuses: list[int] = []
    ended = threading.Event()
    errors_before = web_errors(system)

    def ask(slug: str) -> None:
        with system.client(slug, token=system.tenant(slug)["token"]) as client:
            while not ended.is_set():
                statuses.append(client.get("/api/v1/members").status_code)

    threads = [threading.Thread(target=ask, args=(slug,)) for slug in ("acme", "globex", "acme")]
    for thread in threads:
        thread.start()
    slugs = [f"brief-{uuid4().hex[:8]}" for _ in range(count)]
    try:
        with system.client(token=system["operator"]["token"]) as operator:
            for slug in slugs:
                make_use_and_delete(system, operator, slug)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(statuses) > 10 * count
    assert set(statuses) == {200}
    assert web_errors(system) == errors_before
    with psycopg.connect(system["postgres"]["primary"], autocommit=True) as connection:
        known = tenants(system)
        wait_for(lambda: orphans(connection, known) == [], timeout=5, what="the end of the last backend")


def make_use_and_delete(system: System, operator: httpx.Client, slug: str) -> None:
    body = {
        "slug": slug,
        "name": slug,
        "owner_email": "owner@brief.example",
        "owner_password": "correct horse battery staple",
    }
    made = operator.post("/control/api/v1/tenants", json=body)
    assert made.status_code == 201, made.text
    with system.client(slug, token=made.json()["token"]) as client:
        assert client.get("/api/v1/me").status_code == 200
    assert operator.delete(f"/control/api/v1/tenants/{slug}").status_code == 204
    with system.client(slug, token=made.json()["token"]) as client:
        time.sleep(1.1)  # a route is remembered for a second
        assert client.get("/api/v1/me").status_code == 404


def tenants(system: System) -> int:
    with system.client(token=system["operator"]["token"]) as operator:
        return len(operator.get("/control/api/v1/tenants", params={"limit": 500}).json()["items"])


def orphans(connection: psycopg.Connection[tuple[object, ...]], known: int) -> list[str]:
    """Databases of tenants beyond those that are known, and backends in databases that are gone."""
    databases = [
        str(row[0]) for row in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 't\\_%'")
    ]
    backends = connection.execute(
        "SELECT DISTINCT datname FROM pg_stat_activity WHERE datname LIKE 't\\_%%' AND NOT datname = ANY(%s)",
        [databases],
    )
    return [*databases[known:], *(str(row[0]) for row in backends)]


def web_errors(system: System) -> int:
    """Lines of errors that `web` has written."""
    lines = (system.folder / "logs" / "web.log").read_text().splitlines()
    return sum(json.loads(line)["level"] in {"error", "critical"} for line in lines if line.startswith("{"))


def test_aliases_added_to_a_stock_handler_break_those_that_walk_them() -> None:
    """The control of the test above: at once in most runs, and always within a few seconds."""
    databases = {"default": {"ENGINE": "django.db.backends.dummy"}}
    handler = ConnectionHandler(databases)
    list(handler)
    failed = threading.Event()

    def walk() -> None:
        try:
            while not failed.is_set():
                handler.all(initialized_only=True)
        except RuntimeError:  # dictionary changed size during iteration
            failed.set()

    threads = [threading.Thread(target=walk) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    number = 0
    while not failed.is_set() and time.monotonic() < deadline:
        number += 1
        handler.settings[f"t{number}"] = handler.settings["default"]
        if number > 2_000:
            for old in range(1, 1_000):
                del handler.settings[f"t{old}"]
            break
        time.sleep(0.0005)
    broke = failed.is_set()
    failed.set()
    for thread in threads:
        thread.join()
    assert broke
