"""Verifying a log costs little more than reading it: at least 0.7x as many events a second as a bare read of the same documents."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import transaction
from pytest_django import DjangoDbBlocker

from activity import mongo, outbox
from activity.canonical import normal_form
from activity.context import Actor
from activity.events import Target
from activity.log import READ_AT_ONCE
from activity.models import LogHead
from activity.relay import relay
from activity.verify import verify
from tenants import context
from tenants.ids import new_id
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef

pytestmark = pytest.mark.bench

COUNT = int(os.environ.get("BENCH_EVENTS", "20000"))
ROUNDS = 5
LEAST = 0.7


@pytest.fixture(scope="module")
def long_log(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[TenantRef]:
    with django_db_blocker.unblock():
        ref, _ = provision_tenant(slug="bench-verify", name="Bench")
        with context.use_tenant(ref):
            for first in range(0, COUNT, 1_000):
                with transaction.atomic():
                    outbox.record_ingested([_event(number) for number in range(first, first + 1_000)])
                relay(ref)
        yield ref
        with context.use_control():
            delete_tenant(ref)


def _event(number: int) -> tuple[UUID, bytes]:
    event_id = new_id()
    _, encoded = normal_form(
        id=event_id,
        at=datetime.now(UTC),
        action="report.published",
        actor=Actor("member", str(number % 50), "Zoë Quinn"),
        target=Target("report", str(number), f"Quarterly report {number}"),
        source="api",
        request_id=str(event_id),
        ip="192.0.2.1",
        data={"pages": number, "tags": ["finance", "q3"], "former": {"state": "draft"}},
    )
    return event_id, encoded


def bare_read(ref: TenantRef, last: int) -> None:
    """The same documents, in the same portions, by pymongo alone."""
    for start in range(1, last + 1, READ_AT_ONCE):
        portion = {"$gte": start, "$lt": start + READ_AT_ONCE}
        list(mongo.events().find({"tenant": ref.id, "seq": portion}, sort=[("seq", 1)]).batch_size(READ_AT_ONCE))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_verify_against_a_bare_read(long_log: TenantRef) -> None:
    with context.use_tenant(long_log):
        last = LogHead.objects.get().appended
        assert verify(long_log).checked == last >= COUNT
        reads, verified = [], []
        for _ in range(ROUNDS):  # in turns, so that what else the machine does falls on both
            reads.append(seconds(lambda: bare_read(long_log, last)))
            verified.append(seconds(lambda: verify(long_log)))
    ratio = min(reads) / min(verified)
    print(
        f"\nverify: {last / min(verified):,.0f} events/s, {ratio:.2f}x a bare read ({COUNT:,} events, best of {ROUNDS} rounds)"
    )
    assert ratio >= LEAST
