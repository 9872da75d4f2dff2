"""Scenario 18: an event with a low identity commits after one with a high identity has been relayed, again and again; none is skipped.

A hundred inversions here; `make scenarios` forces a thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from activity import log
from activity.models import LogHead, OutboxEvent
from activity.relay import relay
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, faults, logged
from tests.system import wait_for

INSERT = """
INSERT INTO activity_outboxevent (event_id, document) SELECT %s, jsonb_build_object(
    'id', %s::text, 'at', '2026-01-01T00:00:00.000Z', 'action', 'scenario.inverted', 'source', 'system', 'target', NULL,
    'actor', jsonb_build_object('type', 'system', 'id', 'system', 'name', 'System'), 'request_id', NULL, 'ip', NULL, 'data', '{}'::jsonb)
"""
WAITING = "SELECT 1 FROM activity_outboxevent WHERE event_id = %s"
Relay = Callable[[TenantRef], object]


def record_as(writer: psycopg.Connection[Any]) -> str:
    event_id = str(uuid4())
    writer.execute(INSERT, [event_id, event_id])
    return event_id


@contextmanager
def running(ref: TenantRef, relay_once: Relay) -> Iterator[list[BaseException]]:
    """A relay that runs without a pause, in a thread of its own."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with context.use_tenant(ref):
                while not ended.is_set():
                    relay_once(ref)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        ended.set()
        thread.join()


def force_inversions(ref: TenantRef, url: str, times: int, relay_once: Relay) -> list[str]:
    """The ids in the order in which they committed, which is also the order in which a relay may have seen them."""
    committed: list[str] = []
    with (
        psycopg.connect(url, dbname=ref.database) as slow,
        psycopg.connect(url, dbname=ref.database, autocommit=True) as quick,
        running(ref, relay_once) as errors,
    ):
        for _ in range(times):
            late = record_as(slow)  # the lower identity, not committed
            early = record_as(quick)
            wait_for(
                lambda early=early: errors or not quick.execute(WAITING, [early]).fetchone(),
                interval=0.002,
                what="the relay of the event that came later and committed first",
            )
            slow.commit()
            committed += [early, late]
    assert errors == []
    return committed


def end_well(ref: TenantRef, committed: list[str]) -> None:
    with context.use_tenant(ref):
        relay(ref)
        assert not OutboxEvent.objects.exists()
        assert LogHead.objects.get().appended == len(committed)
    assert faults(committed, logged(ref)) == []


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.scenario)])
def test_what_commits_late_with_a_low_identity_is_relayed(
    lasting_tenant: LastingTenant, primary_url: str, times: int
) -> None:
    ref = lasting_tenant()
    end_well(ref, force_inversions(ref, primary_url, times, relay))


class HighWaterMark:
    """The control: a relay that goes on behind the last identity that it has seen, and deletes up to there."""

    def __init__(self) -> None:
        self.seen = self.seq = 0

    def __call__(self, ref: TenantRef) -> None:
        rows = list(OutboxEvent.objects.filter(id__gt=self.seen).order_by("id"))
        if not rows:
            return
        log.append(ref, [{**row.document, "seq": self.seq + place} for place, row in enumerate(rows, start=1)])
        self.seen, self.seq = rows[-1].pk, self.seq + len(rows)
        OutboxEvent.objects.filter(pk__in=[row.pk for row in rows]).delete()


def test_a_relay_that_goes_by_a_high_water_mark_skips_them(lasting_tenant: LastingTenant, primary_url: str) -> None:
    ref = lasting_tenant()
    mark = HighWaterMark()
    committed = force_inversions(ref, primary_url, 5, mark)
    with context.use_tenant(ref):
        mark(ref)
    late = committed[1::2]
    found = faults(committed, logged(ref))
    assert [f"lost {event_id}" for event_id in late] == [each for each in found if each.startswith("lost")]
