"""A replica is promoted: it is adopted, the former primary is fenced, and nobody is told that they are caught up (scenarios 15 and 23)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from taggit.models import Tag

from tenants import reads
from tenants.context import use_tenant
from tenants.db import roles
from tenants.db.nodes import Position
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef
from tenants.servers import server_of
from tests.failover.conftest import Load
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("failover")


def writer(ref: TenantRef, acknowledged: list[str]) -> Callable[[], None]:
    def write() -> None:
        name = uuid4().hex
        with use_tenant(ref):
            Tag.objects.create(name=name, slug=name)
        acknowledged.append(name)

    return write


def names(cluster: Any, node: str, ref: TenantRef) -> set[str]:
    return {name for (name,) in cluster.execute(node, "SELECT name FROM taggit_tag", database=ref.database)}


def adopted(ref: TenantRef, name: str) -> bool:
    return server_of(ref.server).primary.name == f"{ref.server}/{name}"


def test_writes_move_to_the_promoted_one_while_the_old_primary_is_up(home: Any) -> None:
    cluster, ref = home(replicas=1)
    acknowledged: list[str] = []
    with Load(writer(ref, acknowledged), threads=4) as load:
        wait_for(lambda: len(acknowledged) > 50, timeout=30, what="writes")
        cluster.promote("replica")
        promoted = time.monotonic()
        wait_for(lambda: adopted(ref, "replica"), timeout=10, what="adoption")
        known = time.monotonic()
        at_switch = names(cluster, "primary", ref)
        resumed = len(acknowledged)
        wait_for(lambda: len(acknowledged) > resumed + 50, timeout=10, what="writes on the new primary")
        again = time.monotonic()
    print(
        f"adopted after {known - promoted:.2f} s, fifty writes later after {again - known:.2f} s; {len(load.errors())} errors"
    )
    # Not one more reached the old primary, which took writes all the time.
    assert names(cluster, "primary", ref) == at_switch
    assert roles.is_fenced(roles_endpoint(ref, "primary"))
    assert set(acknowledged) - at_switch <= names(cluster, "replica", ref)
    assert len(load.errors()) <= 8, load.errors()


def roles_endpoint(ref: TenantRef, which: str) -> Any:
    server = server_of(ref.server)
    return next(
        end for end in (server.primary, *server.replicas) if end.name == (ref.server if which == "primary" else which)
    )


def test_without_the_roles_the_old_primary_goes_on_taking_writes(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    cluster, ref = home(replicas=1)
    monkeypatch.setattr(roles, "_reassess", list)
    cluster.promote("replica")
    time.sleep(2)
    at_switch = names(cluster, "primary", ref)
    writer(ref, [])()
    assert len(names(cluster, "primary", ref)) == len(at_switch) + 1


def test_a_transaction_that_is_open_at_the_switch_is_not_committed_on_the_old_primary(home: Any) -> None:
    cluster, ref = home(replicas=1)
    with use_tenant(ref):
        with pytest.raises(DatabaseError), transaction.atomic():
            Tag.objects.create(name="in flight", slug="in-flight")
            cluster.promote("replica")
            wait_for(lambda: adopted(ref, "replica"), timeout=10, what="adoption")
        Tag.objects.create(name="after", slug="after")
    assert names(cluster, "primary", ref) == set()
    assert names(cluster, "replica", ref) == {"after"}


def test_no_one_is_caught_up_across_a_promotion(home: Any) -> None:
    cluster, ref = home(replicas=2)
    with use_tenant(ref):
        with reads.reads_from_primary():
            Tag.objects.create(name="before", slug="before")
            token = reads.read_after()
        assert token is not None
        wait_for(lambda: reads_on(ref, token) == f"{ref.alias}@0", what="a replica that has replayed it")
        former = reads.parse_token(token)
        # As after a write that the old primary took when its replicas no longer got anything.
        lost = Position(former.cluster, former.timeline, former.lsn + 64)
        cluster.promote("replica")
        wait_for(lambda: adopted(ref, "replica"), timeout=10, what="adoption")
    with use_tenant(ref):
        # The new primary writes far past the position of the old timeline.
        for number in range(20):
            Tag.objects.create(name=f"after {number}", slug=f"after-{number}")

        def is_past() -> bool:
            now = roles.state_of(server_of(ref.server).primary)
            return now is not None and now.position is not None and now.position.lsn > lost.lsn

        # The control: by its number alone, the old position would count as covered.
        wait_for(is_past, what="a longer log")
        # Its log is longer by far, and that says nothing: only the primary will do for the old token.
        for position in (former, lost):
            assert reads_on(ref, reads.make_token(position)) == ref.alias
        # The other replica still follows the old primary: it isn't read from at all.
        assert reads_on(ref, None) == ref.alias


def reads_on(ref: TenantRef, token: str | None) -> str:
    with reads.reads_from_replica(token):
        return str(Tag.objects.all().db)


def test_a_demoted_primary_is_left_and_writes_resume(home: Any) -> None:
    """The address stays, it answers SELECT 1, and it refuses to write (scenario 23)."""
    cluster, ref = home(replicas=1)
    acknowledged: list[str] = []
    with Load(writer(ref, acknowledged), threads=4, pause=0.02) as load:
        wait_for(lambda: len(acknowledged) > 50, timeout=30, what="writes")
        cluster.demote(follow="replica")
        assert cluster.execute("primary", "SELECT 1") == [(1,)]
        known = time.monotonic()
        wait_for(lambda: len(acknowledged) > 60 and adopted(ref, "replica"), timeout=20, what="writes")
        since = time.monotonic()
        resumed = len(acknowledged)
        wait_for(lambda: len(acknowledged) > resumed + 50, timeout=20, what="writes that go on")
    print(f"writes resumed {since - known:.2f} s after the new primary was known; {len(load.errors())} errors before")
    assert load.errors(since=since) == []
    assert set(acknowledged) == names(cluster, "replica", ref)
    # It follows the new primary: reads may go to it again, by the number after the configured replicas.
    with use_tenant(ref):
        wait_for(lambda: reads_on(ref, None) == f"{ref.alias}@1", timeout=15, what="reads on the former primary")
        with reads.reads_from_replica():
            assert Tag.objects.filter(name__in=acknowledged).count() == len(acknowledged)


def test_a_primary_that_refuses_to_write_is_a_503_and_its_connection_goes(home: Any) -> None:
    cluster, ref = home(replicas=1)
    with use_tenant(ref):
        assert Tag.objects.count() == 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
        cluster.execute("primary", "ALTER SYSTEM SET default_transaction_read_only = on")
        cluster.execute("primary", "SELECT pg_reload_conf()")

        def refused() -> bool:
            try:
                Tag.objects.create(name=uuid4().hex, slug=uuid4().hex)
            except DatabaseError as error:
                return isinstance(error, OperationalError) and "is not a primary" in str(error)
            return False

        wait_for(refused, timeout=10, what="a refusal")
    wait_for(
        lambda: cluster.execute("primary", f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}") == [],
        what="the end of the backend",
    )
    cluster.execute("primary", "ALTER SYSTEM RESET default_transaction_read_only")
    cluster.execute("primary", "SELECT pg_reload_conf()")
    with use_tenant(ref):
        wait_for(lambda: not refused(), timeout=10, what="a write")


def test_a_read_only_transaction_of_ones_own_is_ones_own_mistake(home: Any) -> None:
    _cluster, ref = home(replicas=1)
    with use_tenant(ref), pytest.raises(DatabaseError, match="read-only transaction"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        Tag.objects.create(name="mine", slug="mine")


def test_a_process_that_begins_after_the_switch_waits_for_all_answers(home: Any) -> None:
    """Forgotten and learned anew, as in a process that has just started: the old primary, configured and up, gets no write."""
    from tenants import servers
    from tenants.db import monitor

    cluster, ref = home(replicas=1)
    cluster.promote("replica")
    for _ in range(3):
        monitor.unwatch(ref.server)
        servers.forget_servers()
        time.sleep(0.2)
        writer(ref, [])()
    assert names(cluster, "primary", ref) == set()
    assert len(names(cluster, "replica", ref)) == 3


def test_tenants_are_made_and_deleted_on_the_new_primary(home: Any) -> None:
    cluster, ref = home(replicas=1)
    cluster.promote("replica")
    wait_for(lambda: adopted(ref, "replica"), timeout=10, what="adoption")
    made, _ = provision_tenant(slug=f"late-{uuid4().hex[:8]}", name="Late", server=ref.server)
    with use_tenant(made):
        assert Tag.objects.count() == 0
    assert cluster.execute("primary", f"SELECT 1 FROM pg_database WHERE datname = '{made.database}'") == []
    delete_tenant(made)
    assert cluster.execute("replica", f"SELECT 1 FROM pg_database WHERE datname = '{made.database}'") == []


def test_another_cluster_under_a_replicas_address_counts_for_nothing(home: Any, make_cluster: Any) -> None:
    cluster, ref = home(replicas=1)
    stranger = make_cluster(replicas=0)
    stranger.execute("primary", f"ALTER ROLE postgres PASSWORD '{cluster.folder.secret('postgres_password')}'")
    cluster.nodes["replica"].stop()
    cluster.proxies["replica"]._server = ("127.0.0.1", stranger.primary.port)
    server = server_of(ref.server)
    own, there = roles.state_of(server.primary), server.replicas[0]
    assert own is not None
    wait_for(
        lambda: (now := roles.state_of(there)) and now.takes_writes and now.cluster != own.cluster,
        what="the stranger's answer",
    )
    assert roles.is_fenced(there)
    assert server_of(ref.server).primary == server.primary
    with use_tenant(ref):
        assert reads_on(ref, None) == ref.alias
        Tag.objects.create(name="written", slug="written")
    assert names(cluster, "primary", ref) == {"written"}
