"""What the activity log costs: to record, to append, to relay. Run by `make bench`.

Each is compared with the same work done without it, or by hand, in one run, in rounds taken in turn; what is printed are medians.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
from django.db import transaction
from django.test import Client
from psycopg.types.json import set_json_loads
from pymongo import MongoClient, WriteConcern
from pytest_django import DjangoDbBlocker

from accounts.services.members import member_create
from accounts.services.tokens import token_create
from activity import log, mongo, outbox
from activity.canonical import normal_form
from activity.context import SYSTEM
from activity.events import Event, Target
from activity.models import LogHead, OutboxEvent
from activity.relay import relay
from activity.search import terms_of
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, lasting_tenant, primary_url, report  # noqa: F401  fixtures

pytestmark = pytest.mark.bench

ROUNDS = int(os.environ.get("TENANTRY_BENCH_ROUNDS", "9"))
REQUESTS = 200
BATCH = 1_000


def compare(what: str, ours: Sequence[float], theirs: Sequence[float], *, unit: str = "ms") -> float:
    """Print both medians and the median of the rounds' ratios with its range; answers that median."""
    scale = {"ms": 1e3, "us": 1e6}[unit]
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    ratio = statistics.median(ratios)
    print(
        f"\n{what}: {statistics.median(ours) * scale:.2f} {unit} beside {statistics.median(theirs) * scale:.2f} {unit};"
        f" ratio {ratio:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {len(ratios)} rounds)"
    )
    return ratio


def in_turn(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[list[float], list[float]]:
    """The seconds of each, round by round, who comes first in turn; the first round warms up."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        both = [(0, ours), (1, theirs)]
        for place, run in both if number % 2 else reversed(both):
            seconds = run()
            if number:
                found[place].append(seconds)
    return found


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


@pytest.fixture
def bench_tenant(lasting_tenant: LastingTenant) -> Iterator[TenantRef]:  # noqa: F811
    ref = lasting_tenant()
    with context.use_tenant(ref):
        mongo.ensure_indexes()
        yield ref
    log.purge(ref)


# --- Recording -------------------------------------------------------------------------------------------------------------


def test_recording_costs_a_write_request_little(bench_tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """`PATCH /members/{id}` of a name, committed, without the network; with its event, and with `record` taken out."""
    owner = member_create(by=None, email="owner@bench.example", role="owner")
    member = member_create(by=owner, email="member@bench.example")
    _, secret = token_create(user=owner, name="bench")
    client = Client(HTTP_HOST=f"{bench_tenant.slug}.localhost", headers={"authorization": f"Bearer {secret}"})
    names = iter(range(10**9))

    def request() -> None:
        body = {"name": f"Name {next(names)}"}
        answer = client.patch(f"/api/v1/members/{member.pk}", body, content_type="application/json")
        assert answer.status_code == 200, answer.content

    recording = outbox.record

    def nothing(event: Event) -> None:
        pass

    # Request by request in turn, so that both meet the same moments of the machine.
    pairs: list[tuple[list[float], list[float]]] = []
    for _ in range(ROUNDS + 1):
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(2 * REQUESTS):
            monkeypatch.setattr(outbox, "record", nothing if number % 2 else recording)
            (theirs if number % 2 else ours).append(timed(request))
        pairs.append((ours, theirs))
        monkeypatch.setattr(outbox, "record", recording)
        with context.use_tenant(bench_tenant):
            OutboxEvent.objects.all().delete()
    p50s = [(statistics.median(ours), statistics.median(theirs)) for ours, theirs in pairs[1:]]
    ratio = compare("p50 of PATCH /members/{id} with its event", *zip(*p50s, strict=True))
    assert ratio <= 1.05


def test_a_record_alone(bench_tenant: TenantRef) -> None:
    def record() -> float:
        with transaction.atomic():
            started = time.perf_counter()
            for number in range(100):
                outbox.record(report(number))
            return (time.perf_counter() - started) / 100

    def insert() -> float:
        with transaction.atomic(), _psycopg().cursor() as cursor:
            started = time.perf_counter()
            for _ in range(100):
                event_id = uuid4()
                document = orjson.dumps({"id": str(event_id), "action": "report.published"}).decode()
                cursor.execute(
                    "INSERT INTO activity_outboxevent (event_id, document) VALUES (%s, %s)", [event_id, document]
                )
            return (time.perf_counter() - started) / 100

    ours, theirs = in_turn(ROUNDS, record, insert)
    compare("record() beside a bare INSERT", ours, theirs, unit="us")


def _psycopg() -> psycopg.Connection[Any]:
    from django.db import connection

    connection.ensure_connection()
    return connection.connection  # type: ignore[no-any-return]


# --- The log ---------------------------------------------------------------------------------------------------------------


def documents(start: int) -> list[dict[str, Any]]:
    """Events in their normal form, numbered from `start` on."""
    made = []
    for seq in range(start, start + BATCH):
        document, _ = normal_form(
            id=uuid4(), at=datetime.now(UTC), action="report.published", actor=SYSTEM, source="system", request_id="r-1",
            target=Target("report", str(seq), f"Report {seq}"), ip="192.0.2.1", data={"pages": seq, "title": "A report of the year"},
        )  # fmt: skip
        made.append({**document, "seq": seq})
    return made


def test_append_beside_a_bare_insert_many(bench_tenant: TenantRef) -> None:
    """The same documents, ready made, with the same write concern into the same collection with its indexes."""
    seq = iter(range(1, 10**9, BATCH))

    def append() -> float:
        events = documents(next(seq))
        return timed(lambda: log.append(bench_tenant, events))

    def bare() -> float:
        ready = [
            {
                "_id": f"{bench_tenant.id}:{event['id']}", "tenant": bench_tenant.id, **event,
                "at": datetime.fromisoformat(event["at"]), "terms": terms_of(event),
            }
            for event in documents(next(seq))
        ]  # fmt: skip
        return timed(lambda: mongo.events().insert_many(ready, ordered=True))

    ours, theirs = in_turn(ROUNDS, append, bare)
    ratio = compare(f"log.append of {BATCH:,} beside insert_many", ours, theirs)
    assert 1 / ratio >= 0.8


# --- The relay -------------------------------------------------------------------------------------------------------------


def test_a_relay_beside_its_statements_by_hand(
    bench_tenant: TenantRef, primary_url: str, django_db_blocker: DjangoDbBlocker  # noqa: F811
) -> None:  # fmt: skip
    """A batch from the outbox into MongoDB. By hand: the same questions and commands, psycopg and pymongo alone, values as they come."""

    def fill() -> None:
        with transaction.atomic():
            outbox.record_all([report(number) for number in range(BATCH)])

    def ours() -> float:
        fill()
        seconds = timed(lambda: relay(bench_tenant))
        assert not OutboxEvent.objects.exists()
        return seconds

    client: MongoClient[dict[str, Any]] = MongoClient(os.environ["MONGO_URL"], tz_aware=True)
    collection = client.get_default_database().get_collection(
        "activity_events", write_concern=WriteConcern(w="majority", j=True, wtimeout=5_000)
    )
    with psycopg.connect(primary_url, dbname=bench_tenant.database) as connection:
        set_json_loads(orjson.loads, connection)

        def by_hand() -> float:
            fill()
            LogHead.objects.get_or_create(pk=1)
            seconds = timed(lambda: relay_by_hand(connection, collection, bench_tenant.id))
            assert not OutboxEvent.objects.exists()
            return seconds

        seen = in_turn(ROUNDS, ours, by_hand)
    client.close()
    ratio = compare(f"the relay of {BATCH:,} beside its statements by hand", *seen)
    assert 1 / ratio >= 0.5


def relay_by_hand(connection: psycopg.Connection[Any], collection: Any, tenant: str) -> None:
    with connection.transaction():
        ((head,),) = connection.execute("SELECT seq FROM activity_loghead FOR UPDATE").fetchall()
        rows = connection.execute(
            "SELECT id, event_id FROM activity_outboxevent WHERE seq IS NULL ORDER BY id LIMIT %s", [BATCH]
        ).fetchall()
        keys = [f"{tenant}:{event_id}" for _, event_id in rows]
        for start in range(0, len(keys), 100):
            assert not list(collection.find({"_id": {"$in": keys[start : start + 100]}}, {"seq": 1}))
        connection.execute(
            "UPDATE activity_outboxevent AS row SET seq = %s + n.position FROM unnest(%s::bigint[]) WITH ORDINALITY AS n (id, position)"
            " WHERE row.id = n.id",
            [head, [row_id for row_id, _ in rows]],
        )
        connection.execute("UPDATE activity_loghead SET seq = %s", [head + len(rows)])
    with connection.transaction():
        connection.execute("SELECT pg_try_advisory_xact_lock(7203101)")
        numbered = connection.execute(
            "SELECT id, seq, document FROM activity_outboxevent WHERE seq IS NOT NULL ORDER BY seq LIMIT %s", [BATCH]
        ).fetchall()
        collection.insert_many(
            [
                {
                    "_id": f"{tenant}:{document['id']}", "tenant": tenant, **document, "seq": seq,
                    "at": datetime.fromisoformat(document["at"]), "terms": terms_of(document),
                }
                for _, seq, document in numbered
            ]
        )  # fmt: skip
        connection.execute(
            "DELETE FROM activity_outboxevent WHERE id = ANY(%s)", [[row_id for row_id, _, _ in numbered]]
        )
        connection.execute("UPDATE activity_loghead SET appended = %s", [numbered[-1][1]])
