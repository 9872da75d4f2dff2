"""Sending events in, through the whole application (without the network), against a bare COPY of the same rows into the outbox.

The COPY begins with the documents as dictionaries, writes them row by row, and commits. Run by `make bench`.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection, transaction

from accounts.models import User
from accounts.services.tokens import token_create
from activity.models import OutboxEvent
from tenants.context import use_tenant
from tests.activity.conftest import LastingTenant, lasting_tenant  # noqa: F401  a fixture

pytestmark = pytest.mark.bench

ROUNDS = 40
EVENTS = 1_000


def batch() -> list[dict[str, Any]]:
    """Events as products send them, each with an id of its own."""
    return [
        {
            "id": str(uuid4()),
            "at": "2026-01-31T12:00:00.000Z",
            "action": "document.opened",
            "actor": {"type": "user", "id": str(number % 50), "name": f"Person {number % 50}"},
            "target": {"type": "document", "id": str(number), "name": f"Document {number}"},
            "data": {"pages": number % 17, "folder": "/reports/2026", "shared": number % 2 == 0},
        }
        for number in range(EVENTS)
    ]


def median(times: list[float]) -> float:
    return 1000 * statistics.median(times)


@pytest.mark.parametrize("quota", [None, 10**9], ids=["without a quota", "with a quota"])
@pytest.mark.parametrize("ndjson", [False, True], ids=["JSON", "NDJSON"])
def test_a_batch_against_a_bare_copy(
    lasting_tenant: LastingTenant, ndjson: bool, quota: int | None, settings: Any  # noqa: F811
) -> None:  # fmt: skip
    from config.wsgi import application  # it looks for the folder of static files, which a fixture makes

    settings.EVENTS_PER_DAY = {} if quota is None else {"free": quota}
    ref = lasting_tenant()
    with use_tenant(ref):
        user = User.objects.create_user(email="bench@lasting.example", role="owner")
        _, secret = token_create(user=user, name="bench")
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/api/v1/activity/batch", "SCRIPT_NAME": "", "QUERY_STRING": "",
        "HTTP_HOST": f"{ref.slug}.localhost", "HTTP_AUTHORIZATION": f"Bearer {secret}", "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0), "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": True,
    }  # fmt: skip

    def through_the_view(events: list[dict[str, Any]]) -> float:
        if ndjson:
            body, kind = b"\n".join(map(orjson.dumps, events)), "application/x-ndjson"
        else:
            body, kind = orjson.dumps({"events": events}), "application/json"
        sent = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        started = time.perf_counter()
        answer = application({**environ, **sent}, lambda status, headers: None)
        content = b"".join(answer)
        took = time.perf_counter() - started
        answer.close()
        assert orjson.loads(content) == {"accepted": EVENTS, "duplicates": 0}
        return took

    def bare_copy(events: list[dict[str, Any]]) -> float:
        documents = [{**event, "source": "api", "request_id": str(uuid4()), "ip": None} for event in events]
        with use_tenant(ref):
            connection.ensure_connection()
            started = time.perf_counter()
            statement = "COPY activity_outboxevent (event_id, document) FROM STDIN"
            with transaction.atomic(), connection.cursor() as cursor, cursor.copy(statement) as copy:
                for document in documents:
                    copy.write_row((document["id"], orjson.dumps(document).decode()))
            return time.perf_counter() - started

    ways: dict[str, Callable[[list[dict[str, Any]]], float]] = {"view": through_the_view, "copy": bare_copy}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 5):
        for name, way in ways.items():
            took = way(batch())
            if number >= 5:
                times[name].append(took)
            with use_tenant(ref), connection.cursor() as cursor:
                cursor.execute("TRUNCATE activity_outboxevent")
    ratio = median(times["copy"]) / median(times["view"])
    print(
        f"\n{EVENTS} events a batch: view {median(times['view']):.1f} ms, bare COPY {median(times['copy']):.1f} ms; "
        f"{ratio:.2f} of its speed, {EVENTS / statistics.median(times['view']):,.0f} events/s; "
        f"at best {1000 * min(times['view']):.1f} and {1000 * min(times['copy']):.1f} ms"
    )
    with use_tenant(ref):
        assert not OutboxEvent.objects.exists()
    assert ratio >= 0.5
