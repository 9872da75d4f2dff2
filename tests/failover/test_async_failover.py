"""The async pools of a loop when roles change: the promoted one is adopted, the former primary gets no write, replicas can be left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import DatabaseError, OperationalError
from django.db.models import CharField, F, Func, Value
from taggit.models import Tag

from tenants.db import aio, monitor, pools, roles
from tenants.db.aio import queries
from tenants.db.aio.route import route_to
from tenants.db.breaker import breaker_of
from tenants.errors import EndpointDown, NotPrimary
from tenants.refs import TenantRef
from tests.failover.test_conflict import conflicting
from tests.failover.test_promotion import adopted, names
from tests.system import wait_for
from tests.tenants.async_pools import RunIn, run_in

__all__ = ["conflicting", "run_in"]  # fixtures

pytestmark = pytest.mark.xdist_group("failover")

INSERT = "INSERT INTO taggit_tag (name, slug) VALUES (%s, %s)"


async def write(name: str = "") -> str:
    name = name or uuid4().hex
    await aio.execute(INSERT, [name, name])
    return name


async def until(is_so: Callable[[], Any], what: str) -> None:
    await asyncio.to_thread(wait_for, is_so, timeout=30, what=what)


class Writers:
    """Tasks that write again and again: what was acknowledged, and what failed."""

    def __init__(self, number: int = 4) -> None:
        self.acknowledged: list[str] = []
        self.errors: list[tuple[float, Exception]] = []
        self._number = number

    async def __aenter__(self) -> Writers:
        self._tasks = [asyncio.create_task(self._write()) for _ in range(self._number)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=20)

    async def _write(self) -> None:
        while True:
            try:
                self.acknowledged.append(await write())
            except (DatabaseError, psycopg.Error) as error:
                self.errors.append((time.monotonic(), error))
            await asyncio.sleep(0.01)

    async def more(self, number: int = 50) -> None:
        """Return when so many more were written."""
        wanted = len(self.acknowledged) + number
        await until(lambda: len(self.acknowledged) >= wanted, "writes")


def test_writes_of_a_loop_move_to_the_promoted_one_while_the_old_primary_is_up(home: Any, run_in: RunIn) -> None:
    cluster, ref = home(replicas=1)

    async def work() -> Writers:
        async with Writers() as writers:
            await writers.more()
            await asyncio.to_thread(cluster.promote, "replica")
            await until(lambda: adopted(ref, "replica"), "adoption")
            at_switch = names(cluster, "primary", ref)
            await writers.more()
            # Not one more reached the old primary, which took writes all the time.
            assert names(cluster, "primary", ref) == at_switch
        assert set(writers.acknowledged) - at_switch <= names(cluster, "replica", ref)
        return writers

    writers = run_in(ref, work)
    print(f"{len(writers.acknowledged)} writes, {len(writers.errors)} errors")
    assert len(writers.errors) <= 8, writers.errors


def test_control_without_the_roles_a_loop_goes_on_writing_to_the_old_primary(
    home: Any, run_in: RunIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, ref = home(replicas=1)

    async def work() -> str:
        await write()
        monkeypatch.setattr(roles, "_reassess", list)
        await asyncio.to_thread(cluster.promote, "replica")
        await asyncio.sleep(2)
        return await write()

    assert run_in(ref, work) in names(cluster, "primary", ref)


def test_a_transaction_of_a_loop_that_is_open_at_the_switch_is_not_committed_on_the_old_primary(
    home: Any, run_in: RunIn
) -> None:
    cluster, ref = home(replicas=1)

    async def work() -> None:
        with pytest.raises(DatabaseError):
            async with aio.transaction():
                await write("in flight")
                await asyncio.to_thread(cluster.promote, "replica")
                await until(lambda: adopted(ref, "replica"), "adoption")
        await write("after")

    run_in(ref, work)
    assert names(cluster, "primary", ref) == set()
    assert names(cluster, "replica", ref) == {"after"}


def test_a_primary_that_comes_back_as_a_standby_is_left_and_writes_resume(home: Any, run_in: RunIn) -> None:
    cluster, ref = home(replicas=1)

    async def work() -> list[str]:
        async with Writers() as writers:
            await writers.more()
            await asyncio.to_thread(cluster.demote, "replica")
            await until(lambda: adopted(ref, "replica"), "adoption")
            await writers.more(10)
            known, errors = time.monotonic(), len(writers.errors)
            await writers.more()
            assert [error for at, error in writers.errors[errors:] if at > known] == []
        return writers.acknowledged

    assert set(run_in(ref, work)) <= names(cluster, "replica", ref)


def test_a_standby_is_refused_as_a_primary(home: Any, run_in: RunIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a primary was demoted a moment ago, and nobody has asked it since."""
    cluster, ref = home(replicas=1)
    there = f"SELECT 1 FROM pg_database WHERE datname = '{ref.database}'"
    wait_for(lambda: cluster.execute("replica", there), what="the database on the replica")

    async def work() -> None:
        from tenants.servers import server_of

        route = await route_to(ref.alias)
        (replica,) = (await asyncio.to_thread(server_of, ref.server)).replicas
        told: list[Any] = []
        monkeypatch.setattr(roles, "demoted", told.append)
        with pytest.raises(NotPrimary):
            await type(route)(ref, ref.alias, replica).connect()
        assert told == [replica]
        connection = await type(route)(ref, f"{ref.alias}@0", replica).connect()  # as a replica it will do
        await connection.close()

    run_in(ref, work)


def test_a_primary_that_refuses_to_write_is_an_error_to_try_again_and_its_connection_goes(
    home: Any, run_in: RunIn
) -> None:
    cluster, ref = home(replicas=1)

    def refuse_writes(how: str) -> None:
        cluster.execute("primary", f"ALTER SYSTEM {how}")
        cluster.execute("primary", "SELECT pg_reload_conf()")

    async def written(name: str) -> bool:
        try:
            await write(name)
        except OperationalError as error:
            return "is not a primary" not in str(error)
        return True

    async def until_written(is_so: bool) -> None:
        async with asyncio.timeout(10):
            while await written(uuid4().hex) is not is_so:
                await asyncio.sleep(0.1)

    async def work() -> None:
        (pid,) = (await aio.execute("SELECT pg_backend_pid()")).rows[0]
        await asyncio.to_thread(refuse_writes, "SET default_transaction_read_only = on")
        await until_written(False)
        await until(
            lambda: cluster.execute("primary", f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}") == [],
            "the end of the backend",
        )
        await asyncio.to_thread(refuse_writes, "RESET default_transaction_read_only")
        await until_written(True)
        with pytest.raises(DatabaseError, match="read-only transaction"):  # one's own mistake stays one
            async with aio.transaction():
                await aio.execute("SET TRANSACTION READ ONLY")
                await write()

    run_in(ref, work)


def test_a_primary_that_hangs_is_cut_off_and_then_refused_at_once_while_the_loop_goes_on(
    home: Any, run_in: RunIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, ref = home(replicas=1)
    monkeypatch.setattr(monitor, "PRIMARY_SILENCE", 2.0)

    async def work() -> float:
        endpoint = (await route_to(ref.alias)).endpoint
        hanging = asyncio.create_task(aio.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.2)
        latest, longest = time.monotonic(), 0.0

        async def tick() -> None:
            nonlocal latest, longest
            while True:
                await asyncio.sleep(0.02)
                now = time.monotonic()
                latest, longest = now, max(longest, now - latest)

        ticking = asyncio.create_task(tick())
        cluster.proxies["primary"].swallow()
        with pytest.raises((OperationalError, psycopg.OperationalError)):
            await asyncio.wait_for(hanging, 20)
        assert breaker_of(endpoint).is_open
        refused = 0
        for _ in range(10):
            try:
                await write()
            except EndpointDown:
                refused += 1
            except psycopg.OperationalError:  # the one whose turn it was to try
                pass
        assert refused >= 8
        cluster.proxies["primary"].release()
        await until(lambda: not breaker_of(endpoint).is_open, "an answer")
        await write()
        ticking.cancel()
        return longest

    print(f"the loop stood still for {run_in(ref, work):.2f} s at most")


def slow_read(ref: TenantRef, seconds: float = 1.5) -> Any:
    nap = Func(Value(seconds), function="pg_sleep", output_field=CharField())
    return Tag.objects.using(f"{ref.alias}@0").annotate(nap=nap).annotate(of=F("name")).values_list("of", "nap")


async def read_in_the_way(ref: TenantRef) -> list[str]:
    """Read from the replica what is made anew meanwhile."""

    async def rewrite() -> None:
        await asyncio.sleep(0.5)
        async with aio.transaction():
            await aio.execute("TRUNCATE taggit_tag CASCADE")
            await write("new")

    rewriting = asyncio.create_task(rewrite())
    try:
        return [name for name, _ in await aio.fetch(slow_read(ref))]
    finally:
        await rewriting


def test_a_read_of_a_replica_that_is_in_the_way_is_run_on_the_primary(conflicting: Any, run_in: RunIn) -> None:
    _cluster, ref = conflicting
    assert run_in(ref, lambda: read_in_the_way(ref)) == ["new"]


def test_control_without_the_repeat_it_fails(conflicting: Any, run_in: RunIn, monkeypatch: pytest.MonkeyPatch) -> None:
    _cluster, ref = conflicting
    monkeypatch.setattr(queries, "is_behind", lambda sqlstate: False)
    with pytest.raises(DatabaseError, match="conflict with recovery"):
        run_in(ref, lambda: read_in_the_way(ref))


def test_a_read_whose_replica_is_killed_is_run_on_the_primary_and_so_are_those_that_follow(
    home: Any, run_in: RunIn
) -> None:
    cluster, ref = home(replicas=1)

    async def work() -> list[Any]:
        await write("one")
        await asyncio.sleep(1)
        reading = asyncio.create_task(aio.fetch(slow_read(ref, 1.0)))
        await asyncio.sleep(0.4)
        await asyncio.to_thread(cluster.nodes["replica"].kill)
        return [await reading, await aio.fetch(slow_read(ref, 0.0))]

    assert [[name for name, _ in found] for found in run_in(ref, work)] == [["one"], ["one"]]


def test_a_read_on_a_connection_that_died_is_run_on_a_new_one_and_a_write_is_not(home: Any, run_in: RunIn) -> None:
    cluster, ref = home(replicas=0)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ^@ 'tenantry-stream'"

    async def cut_off(work: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(cluster.execute, "primary", end)
        return await task

    async def work() -> list[str]:
        await write("one")
        nap = Func(Value(0.6), function="pg_sleep", output_field=CharField())
        read = Tag.objects.annotate(of=F("name"), nap=nap).values_list("of", "nap")
        found = await cut_off(aio.fetch(read))
        with pytest.raises(OperationalError):
            await cut_off(aio.execute("WITH nap AS (SELECT pg_sleep(0.6)) UPDATE taggit_tag SET name = 'two' FROM nap"))
        return [name for name, _ in found]

    assert run_in(ref, work) == ["one"]
    assert names(cluster, "primary", ref) == {"one"}


def test_a_cut_reaches_the_pools_of_a_loop(home: Any, run_in: RunIn) -> None:
    cluster, ref = home(replicas=0)
    hangs = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"

    async def work() -> None:
        endpoint = (await route_to(ref.alias)).endpoint
        hanging = asyncio.create_task(aio.execute("SELECT pg_sleep(60)"))
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(cluster.execute, "primary", hangs):
                await asyncio.sleep(0.02)
        assert await asyncio.to_thread(pools.cut, endpoint) >= 1
        with pytest.raises(OperationalError):
            await asyncio.wait_for(hanging, 5)

    run_in(ref, work)
