"""AsyncServerPool: the ServerPool of an event loop. At most N connections to one Postgres endpoint, whoever's databases they are for.

A borrower gets, in this order: an idle connection of its own tenant; a new one, while fewer than `max_size` are open; a new one in the
place of the least recently used idle one of another tenant, which counts until the server has closed it; a place in the line, first
come, first served. A tenant that runs `max_per_tenant` connections is passed over in the line.

A borrower may be cancelled at any moment: its client is gone, or its time is up. So whatever must not be left half done (opening,
closing, checking, cleaning) is done by tasks of the pool and never by a borrower, who only waits for a future. A connection that was
opened for somebody who left serves the next one, and who waits for one to be opened takes one that comes back earlier.

Everything here runs in one event loop, in which nothing changes between two awaits: there is no lock. What other threads tell the pool
(a lease, a failover, a former epoch) they hand to the loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import structlog
from psycopg.pq import ConnStatus

from tenants.db.aio.books import AsyncRoute, Loan
from tenants.db.aio.connection import AT_REST, Connection, answers, close_and_wait, is_clean, make_clean, seems_alive
from tenants.db.aio.idle import Idle
from tenants.db.aio.waiting import Line, OnTheWay, Waiter
from tenants.db.books import PoolLimits, cap_of, do_nothing
from tenants.db.closing import shut
from tenants.db.connection import CHECK_AFTER_IDLE
from tenants.db.numbers import stats_of
from tenants.errors import PoolClosed, PoolTimeout, TooManyRequests

log = structlog.get_logger(__name__)

# Seconds that a server is given to accept a connection and tell its database; to end what was abandoned.
OPEN_TIMEOUT = 5.0
CLEAN_TIMEOUT = 2.0


class AsyncServerPool:
    """The connections of one event loop (the running one) to one endpoint.

    To be used in that loop alone, but for what keeps leases and hears of failovers and epochs: `resize`, `shrink`, `retire`, `cut`,
    `owners` and the numbers.
    """

    def __init__(
        self,
        name: str,
        limits: PoolLimits,
        *,
        is_former: Callable[[str], bool] = lambda owner: False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.name = name
        self.limits = limits
        self._loop = loop or asyncio.get_running_loop()
        # Whether an owner is a tenant's former route, whose connections aren't kept.
        self._is_former = is_former
        # How many connections the server gives to all its clients, as the last connection that was opened knows; 0: not known.
        self.server_limit = 0
        self.max_size = limits.max_size
        # Called when somebody must wait and `max_size` is below that of the limits: more may be leased.
        self.on_shortage: Callable[[], None] = do_nothing
        self._cap = limits.max_per_tenant
        self._loans: dict[Connection, Loan] = {}
        self._idle = Idle()
        # Every connection that the server may still hold: idle, lent, being opened, cleaned or closed. Above max_size only when
        # that was lowered, until enough have come back.
        self._size = 0
        self._ending = 0  # of these, how many are being closed
        # By owner: connections that are lent, cleaned, or on the way to a borrower. Never above the cap.
        self._running: Counter[str] = Counter()
        # Those who await one of these count as running; the line is for the others.
        self._on_the_way = OnTheWay()
        self._line = Line()
        self._arrivals = 0
        self._closed = False
        self._counters: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- What a borrower asks ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connection(self, route: AsyncRoute, timeout: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection for a block; see `getconn`."""
        connection = await self.getconn(route, timeout)
        try:
            yield connection
        finally:
            self.putconn(connection)

    async def getconn(self, route: AsyncRoute, timeout: float | None = None) -> Connection:
        """Lend a connection for `route`, waiting up to `timeout` seconds (default: the pool's) for one to come free.

        Return it with `putconn`. Raises PoolTimeout, TooManyRequests (at once, when enough are waiting), PoolClosed, and
        psycopg.OperationalError when a new connection can't be opened.
        """
        self._counters["requests_num"] += 1
        if self._closed:
            raise PoolClosed(pool=self.name)
        loop = asyncio.get_running_loop()
        self._arrivals += 1
        waiter = Waiter(route, self._arrivals, loop.create_future())
        if not self._serve(waiter):
            self._join_line(waiter)
        if waiter.ready.done():
            return waiter.ready.result()
        if timeout is None:
            timeout = self.limits.tenant_timeout if waiter.is_capped else self.limits.timeout
        started = time.monotonic()
        timer = loop.call_later(timeout, self._expire, waiter, started)
        try:
            return await waiter.ready
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        finally:
            timer.cancel()
            self._counters["requests_wait_ms"] += round((time.monotonic() - started) * 1000)

    def _serve(self, waiter: Waiter) -> bool:
        """Lend `waiter` a connection, or set one on its way; False when there is nothing for it now."""
        route = waiter.route
        if self._is_capped(route.owner):
            return False
        connection = self._idle.last_of(route.alias)
        if connection is not None:
            self._idle.remove(connection)
            idle_for = time.monotonic() - self._loans[connection].idle_since
            alive = seems_alive(connection)
            if alive and idle_for <= CHECK_AFTER_IDLE:
                self._begin_running(route.owner)
                self._lend(connection, waiter)
                return True
            self._bring(route, own=connection, check=alive)
        elif self._on_the_way.has_spare(route.alias):
            pass
        elif self._size < self.max_size:
            self._size += 1
            self._bring(route)
        elif self._idle and self._size == self.max_size:
            self._counters["connections_stolen"] += 1
            self._bring(route, former=self._idle.remove(next(iter(self._idle))))
        else:
            return False
        self._begin_running(route.owner)
        self._on_the_way.join(waiter)
        return True

    def _lend(self, connection: Connection, waiter: Waiter) -> None:
        loan = self._loans[connection]
        loan.is_lent, loan.lent_at = True, time.monotonic()
        waiter.ready.set_result(connection)

    def _is_capped(self, owner: str | None) -> bool:
        return owner is not None and self._running[owner] >= self._cap

    def _join_line(self, waiter: Waiter) -> None:
        owner = waiter.route.owner
        waiter.is_capped = self._is_capped(owner)
        if owner is not None and waiter.is_capped and self._line.of(owner) >= self.limits.max_waiting_per_tenant:
            self._counters["requests_errors"] += 1
            raise TooManyRequests(pool=self.name, tenant=owner, waiting=self._line.of(owner))
        if len(self._line) >= self.limits.max_waiting:
            self._counters["requests_errors"] += 1
            raise TooManyRequests(pool=self.name, tenant=owner or "anyone", waiting=len(self._line))
        self._line.join(waiter)
        self._counters["requests_queued"] += 1
        if self.max_size < self.limits.max_size:
            self.on_shortage()

    def _expire(self, waiter: Waiter, started: float) -> None:
        if waiter.ready.done():
            return
        self._leave(waiter)
        self._counters["requests_errors"] += 1
        timeout = PoolTimeout(
            pool=self.name,
            tenant=waiter.route.owner or "anyone",
            waited=time.monotonic() - started,
            budget=self.max_size if self.max_size < self.limits.max_size else None,
        )
        waiter.ready.set_exception(timeout)
        self._serve_line()

    def _abandon(self, waiter: Waiter) -> None:
        """The borrower was cancelled while it waited, or in the instant in which it had got its connection."""
        if waiter.ready.cancelled():
            self._leave(waiter)
            self._serve_line()
        elif waiter.ready.exception() is None:
            self.putconn(waiter.ready.result())

    def _leave(self, waiter: Waiter) -> None:
        """Take a waiter out of where it waits."""
        if self._on_the_way.leave(waiter):
            self._end_running(waiter.route.owner)
        else:
            self._line.leave(waiter)

    # --- What a borrower gives back --------------------------------------------------------------------------------------

    def putconn(self, connection: Connection) -> None:
        """Take back a connection that `getconn` lent, in whatever state; a session that isn't clean is cleaned in the background.

        A query that still runs is cancelled, an open transaction rolled back, and what a statement may have left in the session
        (settings, temporary tables, locks, listeners) is discarded. What can't be cleaned in time is closed.
        """
        loan = self._loans.get(connection)
        if loan is None or not loan.is_lent:
            raise ValueError(f"can't return a connection that pool {self.name!r} didn't lend")
        loan.is_lent = False
        self._counters["usage_ms"] += round((time.monotonic() - loan.lent_at) * 1000)
        connection.forget_borrower()
        if is_clean(connection):
            self._end_running(loan.owner)
            self._offer(connection)
            return
        is_soon_back = connection.pgconn.transaction_status in AT_REST
        if is_soon_back:  # a round trip, and it is: nobody needs to open another one
            self._on_the_way.expect(loan.alias)
        self._spawn(self._clean(connection, loan, is_soon_back))

    async def _clean(self, connection: Connection, loan: Loan, is_on_the_way: bool) -> None:
        usable = False
        try:
            async with asyncio.timeout(CLEAN_TIMEOUT):
                usable = await make_clean(connection)
        except (psycopg.Error, OSError, TimeoutError):
            pass
        except BaseException:  # the loop ends
            connection.pgconn.finish()
            raise
        self._end_running(loan.owner)
        if is_on_the_way:
            self._on_the_way.arrived(loan.alias)
        if usable and is_clean(connection):
            self._offer(connection)
            return
        self._counters["returns_bad"] += 1
        if connection.pgconn.status != ConnStatus.OK:
            self.drop_idle()  # the server was lost, and the idle ones died with this one, most likely
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Close a connection that isn't kept. Another one comes in its place for whoever awaits one when none is coming."""
        short = self._on_the_way.short_of(self._loans[connection].alias)
        if short is not None:
            self._bring(short.route, former=connection)
        else:
            self._discard([connection])
        self._serve_line()

    def _offer(self, connection: Connection, *, is_new: bool = False) -> None:
        """A connection is free: for who awaits one of its tenant, else for the line, else to be idle.

        One that was opened for somebody is lent to them once, though it is of a former epoch or one too many by now.
        """
        loan = self._loans[connection]
        now = time.monotonic()
        is_over = now >= loan.expires_at
        is_surplus = self._size > self.max_size
        may_be_lent = is_new or not (is_over or is_surplus) or (not is_over and self._on_the_way.short_of(loan.alias))
        waiter = self._next_awaiting(loan.alias) if may_be_lent else None
        if waiter is not None:
            self._lend(connection, waiter)
        elif self._closed or is_over or is_surplus:
            self._end(connection)
            return
        else:
            loan.idle_since = now
            self._idle.add(connection, loan.alias)
        self._serve_line()

    def _next_awaiting(self, alias: str) -> Waiter | None:
        """Take the first living one out of those who await a connection."""
        while (waiter := self._on_the_way.first(alias)) is not None:
            if waiter.ready.done():
                self._leave(waiter)
            else:
                self._on_the_way.leave(waiter)
                return waiter
        return None

    def _serve_line(self) -> None:
        """Give what came free to those who wait, in order; called whenever something may have come free.

        It keeps the invariant that nobody waits while something could be taken, so a newcomer never overtakes one in the line.
        """
        while (waiter := self._line.first(self._is_capped)) is not None and self._serve(waiter):
            self._line.leave(waiter)

    def _begin_running(self, owner: str | None) -> None:
        if owner is not None:
            self._running[owner] += 1

    def _end_running(self, owner: str | None) -> None:
        if owner is not None:
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner]

    # --- The pool's own tasks: opening, checking, closing ------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    def _bring(
        self, route: AsyncRoute, *, own: Connection | None = None, check: bool = False, former: Connection | None = None
    ) -> None:
        """Set a connection on its way, in a place that counts already: `own` once it has answered, or a new one in its place."""
        self._on_the_way.expect(route.alias)
        self._spawn(self._bring_or_fail(route, own, check, former))

    async def _bring_or_fail(
        self, route: AsyncRoute, own: Connection | None, check: bool, former: Connection | None
    ) -> None:
        try:
            if own is not None and check and await answers(own):
                connection = own
            else:
                await self._make_place(own, former)
                connection = await self._open(route)
        except BaseException as error:
            self._on_the_way.arrived(route.alias)
            self._size -= 1
            self._counters["connections_errors"] += 1
            self._fail_one(route.alias, error)
            self._serve_line()
            if not isinstance(error, Exception):  # the loop ends
                raise
        else:
            self._on_the_way.arrived(route.alias)
            self._offer(connection, is_new=True)

    def _fail_one(self, alias: str, error: BaseException) -> None:
        """Tell the first who awaits a connection that there will be none, unless as many are still on the way."""
        if self._on_the_way.short_of(alias) is None:
            return
        waiter = self._next_awaiting(alias)
        if waiter is None:
            return
        self._end_running(waiter.route.owner)
        if isinstance(error, Exception):
            waiter.ready.set_exception(error)
        else:
            waiter.ready.cancel()

    async def _make_place(self, dead: Connection | None, former: Connection | None) -> None:
        left = dead or former
        if left is None:
            return
        del self._loans[left]
        await close_and_wait([left])
        if dead is not None:
            self._counters["connections_lost"] += 1
            self.drop_idle()  # where one died the others did, most likely: ask none of them one by one

    async def _open(self, route: AsyncRoute) -> Connection:
        started = time.monotonic()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                connection = await route.connect()
        except TimeoutError:
            raise psycopg.errors.ConnectionTimeout(
                f"pool {self.name!r} got no connection in {OPEN_TIMEOUT} s"
            ) from None
        now = time.monotonic()
        lifetime = self.limits.max_lifetime * random.uniform(0.9, 1.0)  # noqa: S311  jitter, so that not all end at once
        self._counters["connections_num"] += 1
        self._counters["connections_ms"] += round((now - started) * 1000)
        self.server_limit = connection.server_limit or self.server_limit
        is_former = route.owner is not None and self._is_former(route.owner)
        self._loans[connection] = Loan(route.alias, route.owner, 0.0 if is_former else now + lifetime)
        return connection

    # --- Idle connections --------------------------------------------------------------------------------------------------

    def _discard(self, connections: list[Connection]) -> None:
        """Close connections in the background; they count until the server has closed its side."""
        for connection in connections:
            del self._loans[connection]
        if connections:
            self._ending += len(connections)
            self._spawn(self._close(connections))

    async def _close(self, connections: list[Connection]) -> None:
        try:
            await close_and_wait(connections)
        finally:
            self._ending -= len(connections)
            self._size -= len(connections)
            self._serve_line()

    def drop_idle(self, owner: str | None = None) -> int:
        """Close idle connections: all of them, or one owner's. Returns how many."""
        return self._drop(lambda loan: owner is None or loan.owner == owner)

    def _drop(self, is_unwanted: Callable[[Loan], bool], most: int | None = None) -> int:
        dropped = [connection for connection in self._idle if is_unwanted(self._loans[connection])][:most]
        for connection in dropped:
            self._idle.remove(connection)
        self._discard(dropped)
        return len(dropped)

    # --- Told from outside, by any thread ------------------------------------------------------------------------------------

    def _in_loop(self, work: Callable[[], Any]) -> None:
        """Do something in the pool's loop: at once when this is it, else as soon as it comes to it."""
        try:
            is_here = asyncio.get_running_loop() is self._loop
        except RuntimeError:  # a thread without a loop
            is_here = False
        if is_here:
            work()
            return
        with suppress(RuntimeError):  # the loop has ended, and its connections with it
            self._loop.call_soon_threadsafe(work)

    def shrink(self) -> None:
        """Close the connections that have been idle for longer than `max_idle`, or open for `max_lifetime`."""

        def close_old_ones() -> None:
            now = time.monotonic()
            self._drop(lambda loan: now - loan.idle_since > self.limits.max_idle or now >= loan.expires_at)

        self._in_loop(close_old_ones)

    def resize(self, max_size: int) -> None:
        """Change how many may be open. What is too many goes at once where it is idle, and else when it is returned."""
        self.max_size = max_size  # at once: from here on none is opened beyond it
        self._cap = cap_of(self.limits, max_size)

        def fit() -> None:
            self._serve_line()
            excess = self._size - self._ending - self.max_size
            if excess > 0:
                self._drop(lambda loan: True, excess)

        self._in_loop(fit)

    def retire(self, is_former: Callable[[str], bool]) -> None:
        """Keep no connection of the owners that are former: idle ones are closed now, lent ones when they come back."""

        def mark_and_drop() -> None:
            for loan in self._loans.values():
                if loan.owner is not None and is_former(loan.owner):
                    loan.expires_at = 0.0
            self._drop(lambda loan: not loan.expires_at)

        self._in_loop(mark_and_drop)

    def cut(self) -> int:
        """End every connection at once, lent ones too: whoever waits for an answer on one gets OperationalError now.

        For an endpoint that hangs, or that must not be written to any more. Returns how many there were.
        """

        def shut_all() -> None:
            for connection, loan in self._loans.items():
                loan.expires_at = 0.0
                shut(connection)
            self.drop_idle()

        count = len(self._loans)  # before: from another thread, the loop may be through with it by the time it is asked
        self._in_loop(shut_all)
        return count

    def owners(self) -> set[str]:
        """Whose connections are open: of what owners the pool has any, idle or lent."""
        return {loan.owner for loan in list(self._loans.values()) if loan.owner is not None}

    # --- The end -----------------------------------------------------------------------------------------------------------

    async def close(self, timeout: float = 10.0) -> None:
        """Drain: refuse newcomers and all who wait, close what is idle, and wait up to `timeout` seconds for what is lent.

        A connection that is lent at the end of that time is closed when it is returned.
        """
        self._closed = True
        for waiter in (*self._line.all(), *self._on_the_way.all()):
            self._leave(waiter)
            if not waiter.ready.done():
                waiter.ready.set_exception(PoolClosed(pool=self.name))
        self.drop_idle()
        deadline = time.monotonic() + timeout
        while self._size > 0:
            if time.monotonic() >= deadline:
                log.warning("pool_closed_with_loans", pool=self.name, connections=self._size)
                return
            await asyncio.sleep(0.02)

    def get_stats(self) -> dict[str, int]:
        """Gauges of now, and counters since the start; see tenants.db.numbers."""
        return stats_of(
            max_size=self.max_size,
            size=self._size,
            available=len(self._idle),
            waiting=len(self._line),
            counters=self._counters,
        )

    @property
    def running(self) -> int:
        """How many connections are lent, cleaned, closed or being opened."""
        return self._size - len(self._idle)

    @property
    def wanted(self) -> int:
        """How many connections those who borrow and wait now would use, if there were no limit but the pool's own."""
        return min(self.limits.max_size, self.running + len(self._line))
