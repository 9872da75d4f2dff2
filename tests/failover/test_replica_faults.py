"""A replica that hangs, is cut off, or is killed: reads go elsewhere, and those that hung on it are answered too (scenario 22)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from taggit.models import Tag

from tenants import reads
from tenants.context import use_tenant
from tenants.db import monitor, pools, retry, roles
from tenants.db.nodes import MAX_AGE
from tenants.refs import TenantRef
from tenants.servers import server_of
from tests.failover.cluster import Cluster
from tests.failover.conftest import Load
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("failover")

FAULTS: dict[str, Callable[[Cluster], Any]] = {
    "stopped": lambda cluster: cluster.stop("replica"),
    "black-holed": lambda cluster: cluster.proxies["replica"].swallow(),
    "killed": lambda cluster: cluster.nodes["replica"].kill(),
}


def reader(ref: TenantRef, read_from: list[str]) -> Callable[[], None]:
    def read() -> None:
        with use_tenant(ref), reads.reads_from_replica():
            alias = Tag.objects.all().db
            read_from.append(alias)
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.01)")  # long enough for a fault to find it on its way

    return read


def wait_until_read_from_the_replica(ref: TenantRef, read_from: list[str]) -> None:
    wait_for(
        lambda: len(read_from) > 200 and set(read_from[-100:]) == {f"{ref.alias}@0"},
        timeout=30,
        what="reads from the replica alone",
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_no_read_fails_and_the_replica_is_left(home: Any, fault: str) -> None:
    cluster, ref = home(replicas=1)
    read_from: list[str] = []
    with Load(reader(ref, read_from), threads=6) as load:
        wait_until_read_from_the_replica(ref, read_from)
        FAULTS[fault](cluster)
        struck = time.monotonic()
        endpoint = server_of(ref.server).replicas[0]
        wait_for(lambda: not roles.state_of(endpoint).healthy, timeout=10, what="leaving the replica")  # type: ignore[union-attr]
        left = time.monotonic()
        time.sleep(3)
        settled = len(load.done)
        wait_for(lambda: len(load.done) > settled + 200, timeout=30, what="reads that go on")
        assert read_from[-1] == ref.alias
    print(
        f"{fault}: left after {left - struck:.2f} s, slowest read {max(seconds for _, seconds, _ in load.done):.2f} s"
    )
    assert load.errors() == []


def test_without_the_cut_a_read_hangs_with_the_replica(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    cluster, ref = home(replicas=1)
    monkeypatch.setattr(pools, "cut", lambda endpoint: 0)
    read_from: list[str] = []
    with Load(reader(ref, read_from), threads=6) as load:
        wait_until_read_from_the_replica(ref, read_from)
        cluster.stop("replica")
        time.sleep(MAX_AGE + 3)
        cluster.resume("replica")
    assert max(seconds for _, seconds, _ in load.done) > MAX_AGE + 1


def test_without_the_repeat_a_read_fails_with_the_replica(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: cut off, and not run again."""
    cluster, ref = home(replicas=1)
    monkeypatch.setattr(retry.RetryingWrapper, "retry_on", lambda self, cursor, sql, error: None)
    read_from: list[str] = []
    with Load(reader(ref, read_from), threads=6) as load:
        wait_until_read_from_the_replica(ref, read_from)
        cluster.stop("replica")
        wait_for(load.errors, timeout=10, what="a failed read")


def test_a_replica_that_comes_back_is_read_from_again(home: Any) -> None:
    cluster, ref = home(replicas=1)
    with use_tenant(ref), reads.reads_from_replica():
        assert Tag.objects.all().db == f"{ref.alias}@0"
        cluster.stop("replica")
        wait_for(lambda: Tag.objects.all().db == ref.alias, timeout=10, what="the primary")
        cluster.resume("replica")
        wait_for(lambda: Tag.objects.all().db == f"{ref.alias}@0", timeout=10, what="the replica")
        assert Tag.objects.count() == 0


def test_of_two_replicas_the_other_one_serves(home: Any) -> None:
    cluster, ref = home(replicas=2)
    cluster.proxies["replica"].swallow()
    endpoint = server_of(ref.server).replicas[0]
    wait_for(lambda: not roles.state_of(endpoint).healthy, timeout=10, what="leaving the replica")  # type: ignore[union-attr]
    with use_tenant(ref), reads.reads_from_replica():
        assert {Tag.objects.all().db for _ in range(20)} == {f"{ref.alias}@1"}
        assert Tag.objects.count() == 0


@pytest.mark.scenario
@pytest.mark.parametrize("fault", FAULTS)
def test_scenario_22_p99_after_five_seconds(home: Any, fault: str) -> None:
    cluster, ref = home(replicas=2)
    read_from: list[str] = []
    with Load(reader(ref, read_from), threads=4) as load:
        time.sleep(2)
        begun = time.monotonic()
        time.sleep(15)
        struck = time.monotonic()
        FAULTS[fault](cluster)
        time.sleep(20)
    base, after = load.p99(begun, struck), load.p99(struck + 5, struck + 20)
    during = max(seconds for at, seconds, _ in load.done if struck - 1 <= at < struck + 5)
    print(
        f"{fault}: p99 {base * 1000:.1f} ms before, {after * 1000:.1f} ms after 5 s, slowest in between {during:.2f} s"
    )
    assert load.errors() == []
    assert after <= 2 * base


def test_the_monitor_is_one_thread_with_a_connection_for_each_node(home: Any) -> None:
    import threading

    cluster, _ref = home(replicas=2)
    assert [thread.name for thread in threading.enumerate()].count("monitor") == 1
    for node in cluster.nodes:
        rows = cluster.execute(
            node, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tenantry-%% monitor'"
        )
        assert rows == [(1,)]
    assert monitor._thread is not None
