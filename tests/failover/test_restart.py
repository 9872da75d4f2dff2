"""Postgres crashes under full pools and comes back: what was in flight fails once, nobody is stuck, and all works at once (scenario 8)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from taggit.models import Tag

from tenants.context import use_tenant
from tenants.db import retry
from tenants.db.connection import Connection
from tenants.refs import TenantRef
from tests.failover.conftest import Load
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("failover")

THREADS = 12


def crash_under_load(cluster: Any, work: Callable[[], Any]) -> tuple[Load, float, float]:
    """The load, when the server crashed and when it accepted connections again."""
    with Load(work, threads=THREADS, pause=0.01) as load:
        wait_for(lambda: len(load.done) > 300, timeout=30, what="a warm pool")
        crashed = time.monotonic()
        cluster.primary.restart(mode="immediate")
        accepts = time.monotonic()
        time.sleep(4)
    return load, crashed, accepts


def reader_and_writer(ref: TenantRef) -> Callable[[], None]:
    mine = threading.local()

    def work() -> None:
        mine.turn = getattr(mine, "turn", 0) + 1
        with use_tenant(ref):
            if mine.turn % 2:
                Tag.objects.count()
            else:
                Tag.objects.filter(pk=-1).update(name="nobody")

    return work


def test_all_is_well_two_seconds_after_it_accepts(home: Any) -> None:
    cluster, ref = home(replicas=1)
    load, crashed, accepts = crash_under_load(cluster, reader_and_writer(ref))
    late = load.errors(since=accepts + 2)
    slowest = max(seconds for begun, seconds, _ in load.done if begun >= crashed - 1)
    in_flight = [error for begun, seconds, error in load.done if error and begun < crashed]
    print(
        f"away for {accepts - crashed:.2f} s; {len(load.errors())} refused meanwhile, {len(load.errors(since=accepts))} after it"
        f" accepted; slowest {slowest:.2f} s"
    )
    assert late == []
    assert len(in_flight) <= THREADS
    assert slowest < 5


def test_without_the_look_at_a_connection_the_dead_ones_are_lent(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: each dead connection of the pool costs somebody a request."""
    monkeypatch.setattr(Connection, "is_alive", lambda self, idle_for: True)
    monkeypatch.setattr(retry.RetryingWrapper, "retry_on", lambda self, cursor, sql, error: None)
    cluster, ref = home(replicas=1)
    with use_tenant(ref):
        Tag.objects.count()
    cluster.primary.restart(mode="immediate")
    time.sleep(0.5)
    with Load(reader_and_writer(ref), threads=1) as load:
        wait_for(lambda: len(load.done) > 5, what="requests")
    assert load.errors()
