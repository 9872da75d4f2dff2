"""ServerPool: at most N connections to one Postgres endpoint, whoever's databases they are for.

A pool for each tenant would cost threads and idle backends by the thousand, and no pooler caps connections across databases.
Here a connection belongs to one tenant's database for its whole life and a borrower gets, in this order:

1. an idle connection of its own tenant (the one used last, so that the others may age);
2. a new one, while fewer than `max_size` are open;
3. a new one in the place of the least recently used idle one of another tenant, closed first: a stolen connection counts until the
   server has closed it, since close-then-open showed the server one backend more than the budget;
4. a place in the line, first come, first served. A tenant that runs `max_per_tenant` connections is passed over in the line, may
   have few waiting, and for a short time only, so that it can't hold the threads that others need.

There is no thread in here: what must be done is done by those who borrow and return. Words, counters and error classes are
psycopg_pool's, and it fits Django's DatabaseWrapper as a pool does: `getconn`, and `connection._pool.putconn`.
"""

from __future__ import annotations

import os
import random
import select
import socket
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg
import structlog
from psycopg.pq import ConnStatus, TransactionStatus

from tenants.errors import PoolClosed, PoolTimeout, TooManyRequests

log = structlog.get_logger(__name__)

Connection = psycopg.Connection[Any]

# Seconds that a server is given to close a connection that we ended, before it stops to count all the same.
CLOSE_TIMEOUT = 2.0
# A connection that was idle for longer is asked `SELECT 1` first: a network that swallows packets shows in no socket state.
CHECK_AFTER_IDLE = 30.0


class Route(Protocol):
    """Where a connection leads: `alias` decides who may reuse it, `owner` whose cap it counts against (None: nobody's)."""

    @property
    def alias(self) -> str: ...
    @property
    def owner(self) -> str | None: ...
    def connect(self) -> Connection: ...


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """A pool's numbers; times in seconds."""

    max_size: int = 20
    max_per_tenant: int = 20
    max_waiting: int = 100
    max_waiting_per_tenant: int = 1
    timeout: float = 5.0
    tenant_timeout: float = 1.0
    max_idle: float = 300.0
    max_lifetime: float = 3600.0


@dataclass(slots=True, eq=False)
class _Grant:
    """The right to one connection: an idle one to reuse, or a place to open one in, perhaps after closing a victim."""

    reuse: Connection | None = None
    victim: Connection | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    route: Route
    grant: _Grant | None = None
    ready: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True, eq=False)
class _Loan:
    """What the pool knows of a connection that it made. Times are monotonic."""

    alias: str
    owner: str | None
    expires_at: float
    lent_at: float = 0.0
    idle_since: float = 0.0


class ServerPool:
    """The connections of this process to one endpoint. Safe to use from any thread."""

    def __init__(
        self, name: str, limits: PoolLimits, *, is_former: Callable[[str], bool] = lambda owner: False
    ) -> None:
        self.name = name
        # Whether an owner is a tenant's former route, whose connections aren't kept.
        self._is_former = is_former
        self.limits = limits
        self._lock = threading.Lock()
        self._loans: dict[Connection, _Loan] = {}
        # Idle connections, the least recently used first; and the same by alias, the one used last at the right.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._idle_by_alias: dict[str, deque[Connection]] = {}
        # Every connection that the server may still hold: idle, lent, being opened, or being closed. Never above max_size.
        self._size = 0
        self._running: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._line: deque[_Waiter] = deque()
        self._closed = False
        self._counters: Counter[str] = Counter()

    # --- What a borrower asks ------------------------------------------------------------------------------------------

    def getconn(self, route: Route, timeout: float | None = None) -> Connection:
        """Lend a connection for `route`, waiting up to `timeout` seconds (default: the pool's) for one to come free.

        Return it with `putconn`. Raises PoolTimeout, TooManyRequests (at once, when enough are waiting), PoolClosed, and
        psycopg.OperationalError when a new connection can't be opened.
        """
        waiter = None
        with self._lock:
            self._counters["requests_num"] += 1
            grant = self._take(route)
            if grant is None:
                waiter = self._join_line(route)
        if waiter is not None:
            grant = self._wait(waiter, timeout)
        assert grant is not None
        connection = self._fulfil(grant, route)
        self._loans[connection].lent_at = time.monotonic()
        return connection

    def _take(self, route: Route) -> _Grant | None:
        """Decide, under the lock, what `route` gets now. Whatever it gets is booked at once."""
        if self._closed:
            raise PoolClosed(pool=self.name)
        if route.owner is not None and self._running[route.owner] >= self.limits.max_per_tenant:
            return None
        own = self._idle_by_alias.get(route.alias)
        if own:
            grant = _Grant(reuse=self._leave_idle(own[-1]))
        elif self._size < self.limits.max_size:
            self._size += 1
            grant = _Grant()
        elif self._idle:
            grant = _Grant(victim=self._leave_idle(next(iter(self._idle))))
            self._counters["connections_stolen"] += 1
        else:
            return None
        if route.owner is not None:
            self._running[route.owner] += 1
        return grant

    def _join_line(self, route: Route) -> _Waiter:
        owner = route.owner
        if owner is not None:
            capped = self._running[owner] >= self.limits.max_per_tenant
            if capped and self._waiting[owner] >= self.limits.max_waiting_per_tenant:
                self._counters["requests_errors"] += 1
                raise TooManyRequests(pool=self.name, tenant=owner, waiting=self._waiting[owner])
        if len(self._line) >= self.limits.max_waiting:
            self._counters["requests_errors"] += 1
            raise TooManyRequests(pool=self.name, tenant=owner or "anyone", waiting=len(self._line))
        waiter = _Waiter(route)
        self._line.append(waiter)
        self._counters["requests_queued"] += 1
        if owner is not None:
            self._waiting[owner] += 1
        return waiter

    def _wait(self, waiter: _Waiter, timeout: float | None) -> _Grant:
        owner = waiter.route.owner
        if timeout is None:
            capped = owner is not None and self._running[owner] >= self.limits.max_per_tenant
            timeout = self.limits.tenant_timeout if capped else self.limits.timeout
        started = time.monotonic()
        waiter.ready.wait(timeout)
        waited = time.monotonic() - started
        with self._lock:
            self._counters["requests_wait_ms"] += round(waited * 1000)
            if waiter.grant is not None:  # granted, be it in the instant in which the time ran out
                return waiter.grant
            if waiter in self._line:
                self._leave_line(waiter)
            self._counters["requests_errors"] += 1
        if self._closed:
            raise PoolClosed(pool=self.name)
        raise PoolTimeout(pool=self.name, tenant=owner or "anyone", waited=waited)

    def _leave_line(self, waiter: _Waiter) -> None:
        self._line.remove(waiter)
        owner = waiter.route.owner
        if owner is not None:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner]

    def _fulfil(self, grant: _Grant, route: Route) -> Connection:
        """Turn a grant into a connection, outside the lock: checking, closing and opening take time."""
        try:
            if grant.reuse is not None and self._is_alive(grant.reuse):
                return grant.reuse
            self._make_place(grant)
            return self._open(route)
        except BaseException:
            with self._lock:
                self._counters["connections_errors"] += 1
                self._size -= 1
                self._end_running(route.owner)
                self._serve_line()
            raise

    def _make_place(self, grant: _Grant) -> None:
        """Close what stands where the new connection shall be: a dead one, or another tenant's."""
        former = grant.reuse or grant.victim
        if former is None:
            return
        self._forget(former)
        _close_and_wait([former])
        if grant.reuse is not None:
            with self._lock:
                self._counters["connections_lost"] += 1
            self.drop_idle()  # where one died the others did, most likely: ask none of them one by one

    def _open(self, route: Route) -> Connection:
        started = time.monotonic()
        connection = route.connect()
        now = time.monotonic()
        lifetime = self.limits.max_lifetime * random.uniform(0.9, 1.0)  # noqa: S311  jitter, so that not all end at once
        connection._pool = self  # type: ignore[assignment]  # Django returns a connection through this attribute
        with self._lock:
            self._counters["connections_num"] += 1
            self._counters["connections_ms"] += round((now - started) * 1000)
            self._loans[connection] = _Loan(route.alias, route.owner, now + lifetime)
            if route.owner is not None and self._is_former(route.owner):
                self._loans[connection].expires_at = 0.0
        return connection

    def _is_alive(self, connection: Connection) -> bool:
        """Whether an idle connection still works, without a round trip unless it was idle for long."""
        if connection.pgconn.status != ConnStatus.OK:
            return False
        poll = select.poll()
        poll.register(connection.pgconn.socket, select.POLLIN)
        if poll.poll(0):  # an idle server has nothing to say: an end of file, or a message that libpq must look at
            try:
                connection.pgconn.consume_input()
            except psycopg.OperationalError:
                return False
            if connection.pgconn.status != ConnStatus.OK or poll.poll(0):
                return False
        if time.monotonic() - self._loans[connection].idle_since > CHECK_AFTER_IDLE:
            try:
                connection.execute("SELECT 1")
            except psycopg.Error:
                return False
        return True

    # --- What a borrower gives back --------------------------------------------------------------------------------------

    def putconn(self, connection: Connection) -> None:
        """Take back a connection that `getconn` lent. An open transaction is rolled back; a broken connection is dropped."""
        loan = self._loans.get(connection)
        if loan is None:
            raise ValueError(f"can't return a connection that pool {self.name!r} didn't lend")
        now = time.monotonic()
        usable = self._clean(connection)
        keep = usable and not self._closed and now < loan.expires_at
        if not keep:
            self._forget(connection)
            _close_and_wait([connection])
        with self._lock:
            self._counters["usage_ms"] += round((now - loan.lent_at) * 1000)
            if keep and not self._closed:
                loan.idle_since = now
                self._idle[connection] = None
                self._idle_by_alias.setdefault(loan.alias, deque()).append(connection)
            else:
                self._size -= 1
            if not usable:
                self._counters["returns_bad"] += 1
            self._end_running(loan.owner)
            self._serve_line()
        if keep and self._closed:
            self.drop_idle()
        if not usable:
            self.drop_idle()

    def _clean(self, connection: Connection) -> bool:
        """Make the session fit for the next borrower. Returns whether that succeeded."""
        if connection.closed or connection.pgconn.status != ConnStatus.OK:
            return False
        status = connection.pgconn.transaction_status
        try:
            if (
                status == TransactionStatus.ACTIVE
            ):  # a query was abandoned in its midst, such as a COPY that was not read
                connection.cancel_safe(
                    timeout=1.0
                )  # so that the server ends it, and the backend, before it counts no more
                return False
            if status != TransactionStatus.IDLE:
                connection.rollback()
            if not connection.autocommit:
                connection.autocommit = True
        except psycopg.Error:
            return False
        return True

    def _end_running(self, owner: str | None) -> None:
        if owner is not None:
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner]

    def _serve_line(self) -> None:
        """Give what came free to those who wait, in order; called under the lock whenever something may have come free.

        It keeps the invariant that nobody waits while something could be taken, so a newcomer never overtakes one in the line.
        """
        for waiter in list(self._line):
            if self._closed:
                waiter.ready.set()
                continue
            grant = self._take(waiter.route)
            if grant is not None:
                waiter.grant = grant
                self._leave_line(waiter)
                waiter.ready.set()
            elif self._size >= self.limits.max_size and not self._idle:
                break

    # --- Idle connections --------------------------------------------------------------------------------------------------

    def _leave_idle(self, connection: Connection) -> Connection:
        del self._idle[connection]
        alias = self._loans[connection].alias
        own = self._idle_by_alias[alias]
        own.remove(connection)
        if not own:
            del self._idle_by_alias[alias]
        return connection

    def _forget(self, connection: Connection) -> None:
        self._loans.pop(connection, None)

    def drop_idle(self, owner: str | None = None, *, idle_since_before: float | None = None) -> int:
        """Close idle connections: all of them, one owner's, or those idle since before a monotonic time. Returns how many."""
        with self._lock:
            dropped = [
                connection
                for connection in self._idle
                if (owner is None or self._loans[connection].owner == owner)
                and (idle_since_before is None or self._loans[connection].idle_since < idle_since_before)
            ]
            for connection in dropped:
                self._leave_idle(connection)
        for connection in dropped:
            self._forget(connection)
        _close_and_wait(dropped)
        if dropped:
            with self._lock:
                self._size -= len(dropped)
                self._serve_line()
        return len(dropped)

    def shrink(self) -> int:
        """Close the connections that were idle for longer than `max_idle`. Returns how many."""
        return self.drop_idle(idle_since_before=time.monotonic() - self.limits.max_idle)

    # --- Ended from outside ------------------------------------------------------------------------------------------------

    def retire(self, is_former: Callable[[str], bool]) -> int:
        """Keep no connection of the owners that are former: idle ones are closed now, lent ones when they come back.

        Returns how many were idle.
        """
        with self._lock:
            loans = [loan for loan in self._loans.values() if loan.owner is not None and is_former(loan.owner)]
            for loan in loans:
                loan.expires_at = 0.0
        return sum(self.drop_idle(owner) for owner in {loan.owner for loan in loans})

    def owners(self) -> set[str]:
        """Whose connections are open: of what owners the pool has any, idle or lent."""
        with self._lock:
            return {loan.owner for loan in self._loans.values() if loan.owner is not None}

    def cut(self) -> int:
        """End every connection at once, lent ones too: whoever waits for an answer on one gets OperationalError now.

        For an endpoint that hangs, or that must not be written to any more. Returns how many there were.
        """
        with self._lock:
            connections = list(self._loans)
        for connection in connections:
            shut(connection)
        self.drop_idle()
        return len(connections)

    # --- The end -----------------------------------------------------------------------------------------------------------

    def close(self, timeout: float = 10.0) -> None:
        """Drain: refuse newcomers, wake those who wait, close what is idle, and wait up to `timeout` seconds for what is lent.

        A connection that is lent at the end of that time is closed when it is returned.
        """
        with self._lock:
            self._closed = True
            self._serve_line()
        deadline = time.monotonic() + timeout
        while True:
            self.drop_idle()
            with self._lock:
                if self._size <= 0:
                    return
            if time.monotonic() >= deadline:
                log.warning("pool_closed_with_loans", pool=self.name, connections=self._size)
                return
            time.sleep(0.02)

    def get_stats(self) -> dict[str, int]:
        """Counters since the start and gauges of now, with psycopg_pool's keys; `connections_stolen` is ours."""
        with self._lock:
            return {
                "pool_min": 0,
                "pool_max": self.limits.max_size,
                "pool_size": self._size,
                "pool_available": len(self._idle),
                "requests_waiting": len(self._line),
                **{key: self._counters[key] for key in COUNTERS},
            }

    @property
    def running(self) -> int:
        """How many connections are lent or being opened."""
        return self._size - len(self._idle)


COUNTERS = (
    "usage_ms",
    "requests_num",
    "requests_queued",
    "requests_wait_ms",
    "requests_errors",
    "returns_bad",
    "connections_num",
    "connections_ms",
    "connections_errors",
    "connections_lost",
    "connections_stolen",
)


def shut(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Shut a connection's socket down, which another thread may be waiting on: that thread finds it at its end."""
    try:
        end = socket.socket(fileno=os.dup(connection.pgconn.socket))
    except (psycopg.Error, OSError):  # its thread has just closed it
        return
    with end:
        try:
            # Its thread may close it and open something else between the two words above, which would have its number.
            if end.family == socket.AF_UNIX or end.getpeername()[1] == connection.info.port:
                end.shutdown(socket.SHUT_RDWR)
        except (psycopg.Error, OSError):
            return


def _close_and_wait(connections: Iterable[Connection]) -> None:
    """End connections and wait until the server has closed its side, which it does once the backend is gone."""
    ends: dict[int, int] = {}
    poll = select.poll()
    for connection in connections:
        try:
            end = os.dup(connection.pgconn.socket)
        except (psycopg.Error, OSError):  # it was closed already
            connection.close()
            continue
        connection.close()
        ends[end] = end
        poll.register(end, select.POLLIN | select.POLLHUP)
    deadline = time.monotonic() + CLOSE_TIMEOUT
    try:
        while ends and (left := deadline - time.monotonic()) > 0:
            for end, _ in poll.poll(left * 1000):
                try:
                    at_end = not os.read(end, 4096)
                except OSError:
                    at_end = True
                if at_end:
                    poll.unregister(end)
                    os.close(ends.pop(end))
    finally:
        for end in ends:
            os.close(end)
