"""The async pool under any order of borrowing, returning, cancelling and losing: Hypothesis chooses, a real server answers."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tenants.db.aio.connection import Connection
from tenants.db.aio.pool import AsyncServerPool
from tenants.db.books import PoolLimits
from tests.tenants.async_pools import AsyncDatabaseRoute, pid
from tests.tenants.conftest import primary_url

LIMITS = PoolLimits(
    max_size=3, max_per_tenant=2, max_waiting=4, max_waiting_per_tenant=2, timeout=30.0, tenant_timeout=30.0
)


# What is drawn must not depend on how quick the server is, or a failure could not be run again.
PICK = st.integers(0, 5)
STATES = ("clean", "touched", "transaction", "failed", "running", "closed")


class PoolMachine(RuleBasedStateMachine):
    names: ClassVar[list[str]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.former: set[str] = set()  # owners
        self.pool = AsyncServerPool("machine", LIMITS, is_former=self.former.__contains__, loop=self.loop)
        self.borrowers: list[tuple[str, asyncio.Task[Connection]]] = []
        self.lent: list[tuple[str, Connection]] = []

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def settle(self) -> None:
        """Let the pool finish what it does by itself, and take what came to those who wait."""
        await asyncio.sleep(0)
        while self.pool._tasks:
            await asyncio.wait(self.pool._tasks)
        await asyncio.sleep(0)
        for name, task in [each for each in self.borrowers if each[1].done()]:
            self.borrowers.remove((name, task))
            if not task.cancelled() and task.exception() is None:
                self.lent.append((name, task.result()))

    @rule(number=st.integers(0, 2), settled=st.booleans())
    def borrow(self, number: int, settled: bool) -> None:
        async def start() -> None:
            name = self.names[number]
            self.borrowers.append((name, asyncio.create_task(self.pool.getconn(AsyncDatabaseRoute(name, "machine")))))
            await asyncio.sleep(0)
            if settled:
                await self.settle()

        self.run(start())

    @rule(number=st.integers(0, 2), many=st.integers(1, 3), cut=st.integers(0, 3), settled=st.booleans())
    def burst(self, number: int, many: int, cut: int, settled: bool) -> None:
        """Several ask at once, some of them are cancelled, and somebody returns one before the loop has told those."""

        async def ask() -> None:
            route = AsyncDatabaseRoute(self.names[number], "machine")
            tasks = [asyncio.create_task(self.pool.getconn(route)) for _ in range(many)]
            self.borrowers += [(route.database, task) for task in tasks]
            await asyncio.sleep(0)
            for task in tasks[:cut]:
                task.cancel()
            own = next((entry for entry in self.lent if entry[0] == route.database), None)
            if own is not None:
                self.lent.remove(own)
                self.pool.putconn(own[1])
            await asyncio.sleep(0)
            if settled:
                await self.settle()

        self.run(ask())

    @rule()
    def wait(self) -> None:
        self.run(self.settle())

    @rule(pick=PICK, together=st.booleans(), settled=st.booleans())
    def cancel(self, pick: int, together: bool, settled: bool) -> None:
        """Cancel one that waits; or cancel it and return another's connection before the loop has told it."""
        if not self.borrowers:
            return
        entry = self.borrowers[pick % len(self.borrowers)]

        async def cut() -> None:
            if entry[1].done():
                return
            entry[1].cancel()
            self.borrowers.remove(entry)
            if together and self.lent:
                self.pool.putconn(self.lent.pop()[1])
            await asyncio.wait([entry[1]])
            if settled:
                await self.settle()

        self.run(cut())

    @rule(pick=PICK, state=st.sampled_from(STATES), settled=st.booleans())
    def give_back(self, pick: int, state: str, settled: bool) -> None:
        if not self.lent:
            return
        entry = self.lent[pick % len(self.lent)]
        self.lent.remove(entry)
        connection = entry[1]

        async def leave_it_so() -> None:
            if state == "transaction":
                await connection.execute("BEGIN; CREATE TEMPORARY TABLE left_behind (id int)")
            elif state == "failed":
                await connection.execute("BEGIN")
                try:
                    await connection.execute("SELECT nothing")
                except psycopg.errors.UndefinedColumn:
                    pass
            elif state == "running":
                connection.pgconn.send_query(b"SELECT pg_sleep(60)")
                connection.pgconn.flush()
            elif state == "closed":
                await connection.close()
            elif state == "touched":
                await connection.execute("SET search_path = nowhere")
            self.pool.putconn(connection)
            if settled:
                await self.settle()

        self.run(leave_it_so())

    @rule()
    def the_server_ends_an_idle_one(self) -> None:
        victim = next(iter(self.pool._idle), None)
        if victim is None:
            return
        with psycopg.connect(primary_url(), autocommit=True) as observer:
            observer.execute("SELECT pg_terminate_backend(%s, 2000)", [pid(victim)])

    @rule()
    def drop_idle(self) -> None:
        async def drop() -> None:
            self.pool.drop_idle()
            await self.settle()

        self.run(drop())

    @rule(max_size=st.integers(0, LIMITS.max_size))
    def resize(self, max_size: int) -> None:
        async def fit() -> None:
            self.pool.resize(max_size)
            await self.settle()

        self.run(fit())

    @rule(number=st.integers(0, 2))
    def retire(self, number: int) -> None:
        """A route becomes a former one, whatever is on its way: none of its connections is idle after that."""

        async def forget() -> None:
            self.former.add(self.names[number])
            self.pool.retire(self.former.__contains__)
            await self.settle()

        self.run(forget())
        assert self.names[number] not in {self.pool._loans[connection].owner for connection in self.pool._idle}
        self.former.clear()  # the next epoch has the same name here

    def is_settled(self) -> bool:
        return not self.pool._tasks and not any(task.done() for _, task in self.borrowers)

    @invariant()
    def no_bound_is_ever_passed(self) -> None:
        assert self.pool._size <= LIMITS.max_size
        assert all(0 < running <= LIMITS.max_per_tenant for running in self.pool._running.values())

    @invariant()
    def the_books_are_right(self) -> None:
        if not self.is_settled():
            return
        pool, stats = self.pool, self.pool.get_stats()
        assert stats["pool_size"] == len(self.lent) + stats["pool_available"] <= LIMITS.max_size
        for name in self.names:
            running = sum(1 for owner, _ in self.lent if owner == name)
            assert pool._running[name] == running <= LIMITS.max_per_tenant
        assert pool._on_the_way.is_empty
        assert stats["requests_waiting"] == len(self.borrowers)
        assert stats["pool_available"] == 0 or stats["pool_size"] <= pool.max_size

    @invariant()
    def nobody_waits_for_what_could_be_taken(self) -> None:
        if not self.is_settled():
            return
        for name, _ in self.borrowers:
            is_full = self.pool._size >= self.pool.max_size and not self.pool._idle
            assert is_full or self.pool._running[name] >= self.pool._cap

    @invariant()
    def whoever_has_one_has_it_alone_clean_and_in_the_right_database(self) -> None:
        if not self.is_settled():
            return
        assert len({connection for _, connection in self.lent}) == len(self.lent)
        assert not {connection for _, connection in self.lent} & set(self.pool._idle)

        async def ask() -> None:
            for name, connection in self.lent:
                cursor = await connection.execute("SELECT current_database(), to_regclass('left_behind')")
                assert await cursor.fetchone() == (name, None)

        self.run(ask())

    def teardown(self) -> None:
        async def end() -> None:
            for _, task in self.borrowers:
                task.cancel()
            await self.settle()
            for _, connection in self.lent:
                self.pool.putconn(connection)
            await self.pool.close(5.0)
            assert self.pool.get_stats()["pool_size"] == 0

        self.run(end())
        self.loop.close()


def test_the_pool_keeps_its_promises_in_any_order(databases: list[str]) -> None:
    PoolMachine.names = databases[:3]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        PoolMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.generate],  # to shrink what a real server does takes minutes
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
