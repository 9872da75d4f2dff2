"""ServerPool: at most N connections to one Postgres endpoint, whoever's databases they are for.

A pool for each tenant would cost threads and idle backends by the thousand, and no pooler caps connections across databases.
Here a connection belongs to one tenant's database for its whole life and a borrower gets, in this order:

1. an idle connection of its own tenant (the one used last, so that the others may age);
2. a new one, while fewer than `max_size` are open;
3. a new one in the place of the least recently used idle one of another tenant, closed first: a stolen connection counts until the
   server has closed it, since close-then-open showed the server one backend more than the budget;
4. a place in the line, first come, first served. A tenant that runs `max_per_tenant` connections is passed over in the line, may
   have few waiting, and for a short time only, so that it can't hold the threads that others need.

A borrower opens a connection itself when its tenant has none, since nothing else could serve it. When the tenant has some, the
borrower waits in the line for whichever comes first, a returned one or a new one, and a short-lived thread does the opening: at most
half as many at once as the tenant has, so that a burst of short queries is served by what is there
(docs/decisions/0006-connections-are-opened-for-the-line.md).

Words, counters and error classes are psycopg_pool's, and it fits Django's DatabaseWrapper as a pool does: `getconn`, and
`connection._pool.putconn`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

import structlog

from tenants.db.books import Loan, Place, PoolLimits, Route, Share, Waiter, cap_of, do_nothing
from tenants.db.closing import close_and_wait, shut
from tenants.db.connection import Connection
from tenants.db.numbers import COUNTERS, stats_of
from tenants.db.openers import Openers
from tenants.errors import PoolClosed, PoolTimeout, TooManyRequests

log = structlog.get_logger(__name__)


class ServerPool:
    """The connections of this process to one endpoint. Safe to use from any thread."""

    def __init__(
        self, name: str, limits: PoolLimits, *, is_former: Callable[[str], bool] = lambda owner: False
    ) -> None:
        self.name = name
        self.limits = limits
        # Whether an owner is a tenant's former route, whose connections aren't kept.
        self._is_former = is_former
        # How many connections the server gives to all its clients, as the last connection that was opened knows; 0: not known.
        self.server_limit = 0
        self.max_size = limits.max_size
        # Called, outside the lock, when somebody must wait and `max_size` is below that of the limits: more may be leased.
        self.on_shortage: Callable[[], None] = do_nothing
        self._cap = limits.max_per_tenant
        self._lock = threading.Lock()
        self._shares: dict[str, Share] = {}
        self._loans: dict[Connection, Loan] = {}
        # Idle connections of all tenants, the least recently used first.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        # Every connection that the server may still hold: idle, lent, being opened, or being closed. Above max_size only when
        # that was lowered, until enough have come back.
        self._size = 0
        self._line: deque[Waiter] = deque()
        self._openers = Openers(name, self._lock, self._is_wanted, self._open_for_line)
        self._closed = False
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._usage = self._waited = self._connecting = 0.0  # seconds; the counters of these are in milliseconds

    # --- What a borrower asks ------------------------------------------------------------------------------------------

    def getconn(self, route: Route, timeout: float | None = None) -> Connection:
        """Lend a connection for `route`, waiting up to `timeout` seconds (default: the pool's) for one to come free.

        Return it with `putconn`. Raises PoolTimeout, TooManyRequests (at once, when enough are waiting), PoolClosed, and
        psycopg.OperationalError when a new connection can't be opened.
        """
        with self._lock:
            self._counters["requests_num"] += 1
            if self._closed:
                raise PoolClosed(pool=self.name)
            share = self._shares.get(route.alias)
            if share is None:
                share = self._shares[route.alias] = Share(route)
            share.route = route
            outcome = self._take(share) or self._join_line(share)
        if isinstance(outcome, Waiter):
            outcome = self._wait(outcome, timeout)
        if isinstance(outcome, Place):
            return self._open_for_borrower(outcome)
        loan = self._loans[outcome]
        now = time.monotonic()
        if not outcome.is_alive(now - loan.idle_since):
            return self._replace(outcome, share)
        loan.lent_at = now
        return outcome

    def _take(self, share: Share) -> Connection | Place | None:
        """Decide, under the lock, what a borrower gets now. Whatever it gets is booked at once."""
        if share.lent >= self._cap and share.route.owner is not None:
            return None
        if share.idle:
            connection = share.idle.pop()
            del self._idle[connection]
            share.lent += 1
            return connection
        if share.lent or share.opening:
            return None  # one of these may come first: the line decides whether one more is opened
        place = self._book_place(share)
        if place is not None:
            share.lent += 1
        return place

    def _book_place(self, share: Share) -> Place | None:
        if self._size < self.max_size:
            self._size += 1
            return Place(share)
        if self._idle and self._size == self.max_size:
            self._counters["connections_stolen"] += 1
            return Place(share, former=self._leave_idle(next(iter(self._idle))))
        return None

    def _join_line(self, share: Share) -> Waiter:
        waiter = Waiter(share)
        self._line.append(waiter)
        share.waiting += 1
        self._serve_line()
        owner, waiting = share.route.owner, 0
        if owner is not None and share.lent + share.waiting > self._cap + self.limits.max_waiting_per_tenant:
            waiting = share.waiting
        elif len(self._line) > self.limits.max_waiting and share.opening < share.waiting:
            waiting = len(self._line)
        if waiting:
            self._leave_line(waiter)
            self._counters["requests_errors"] += 1
            raise TooManyRequests(pool=self.name, tenant=owner or "anyone", waiting=waiting - 1)
        self._counters["requests_queued"] += 1
        return waiter

    def _wait(self, waiter: Waiter, timeout: float | None) -> Connection | Place:
        share = waiter.share
        if timeout is None:
            capped = share.lent >= self._cap and share.route.owner is not None
            timeout = self.limits.tenant_timeout if capped else self.limits.timeout
        self._openers.start()
        if self.max_size < self.limits.max_size:
            self.on_shortage()
        started = time.monotonic()
        try:
            waiter.ready.wait(timeout)
        except BaseException:  # such as Celery's soft time limit, which is raised wherever the thread happens to be
            self._abandon(waiter)
            raise
        waited = time.monotonic() - started
        with self._lock:
            self._waited += waited
            outcome = waiter.outcome  # which may have come in the instant in which the time ran out
            if outcome is None:
                self._leave_line(waiter)
                outcome = PoolTimeout(
                    pool=self.name,
                    tenant=share.route.owner or "anyone",
                    waited=waited,
                    budget=self.max_size if self.max_size < self.limits.max_size else None,
                )
            if isinstance(outcome, BaseException):
                self._counters["requests_errors"] += 1
                raise outcome
        return outcome

    def _abandon(self, waiter: Waiter) -> None:
        with self._lock:
            outcome = waiter.outcome
            if outcome is None:
                self._leave_line(waiter)
        if isinstance(outcome, Connection):
            self._loans[outcome].lent_at = time.monotonic()
            self.putconn(outcome)
        elif isinstance(outcome, Place):
            self._give_back(outcome, lent=True)

    def _open_for_borrower(self, place: Place) -> Connection:
        """Open a connection in this thread and lend it. The place is given back when that fails."""
        try:
            connection = self._open(place)
        except BaseException:
            self._give_back(place, lent=True)
            raise
        self._loans[connection].lent_at = time.monotonic()
        return connection

    def _replace(self, dead: Connection, share: Share) -> Connection:
        """Lend a new connection in the place of one that turned out to be dead."""
        with self._lock:
            self._counters["connections_lost"] += 1
        self.drop_idle()  # where one died the others did, most likely: ask none of them one by one
        return self._open_for_borrower(Place(share, former=dead))

    # --- What a borrower gives back --------------------------------------------------------------------------------------

    def putconn(self, connection: Connection) -> None:
        """Take back a connection that `getconn` lent. What was left in its session goes; a broken connection is dropped."""
        loan = self._loans.get(connection)
        if loan is None or not loan.lent_at:
            raise ValueError(f"can't return a connection that pool {self.name!r} hasn't lent")
        now = time.monotonic()
        used, loan.lent_at = now - loan.lent_at, 0.0
        usable, kept = connection.clean(), False
        if usable:
            with self._lock:  # where alone it is told that the connection is a former route's
                if now < loan.expires_at and self._size <= self.max_size and not self._closed:
                    self._usage += used
                    loan.share.lent -= 1
                    self._add_idle(connection, loan, now)
                    if self._line:
                        self._serve_line()
                    kept = True
        if not kept:
            self._end(connection, loan, used, usable=usable)
        self._openers.start()

    def _end(self, connection: Connection, loan: Loan, used: float, *, usable: bool) -> None:
        """Close a connection that comes back and isn't kept: broken, too old, or one too many."""
        del self._loans[connection]
        close_and_wait([connection])
        with self._lock:
            self._usage += used
            if not usable:
                self._counters["returns_bad"] += 1
            self._size -= 1
            loan.share.lent -= 1
            self._serve_line()
            self._forget_if_empty(loan.share)
        if not usable:
            self.drop_idle()

    # --- The line ----------------------------------------------------------------------------------------------------------

    def _serve_line(self) -> None:
        """Give what came free to those who wait, in order; called under the lock whenever something may have come free.

        It keeps the invariant that nobody waits while something could be taken, so a newcomer never overtakes one in the line.
        Whoever calls it starts the openers after it has left the lock.
        """
        for waiter in list(self._line):
            outcome = self._take(waiter.share)
            if outcome is not None:
                self._answer(waiter, outcome)
            elif self._needs_one_more(waiter.share) and (place := self._book_place(waiter.share)):
                waiter.share.opening += 1
                self._openers.book(place)
            elif self._size >= self.max_size and not self._idle:
                break

    def _needs_one_more(self, share: Share) -> bool:
        """Whether one more connection is to be opened for those of this alias who wait."""
        if share.lent + share.opening >= self._cap and share.route.owner is not None:
            return False
        return share.opening < min(share.waiting, max(1, (len(share.idle) + share.lent) // 2))

    def _answer(self, waiter: Waiter, outcome: Connection | Place | BaseException) -> None:
        self._leave_line(waiter)
        waiter.outcome = outcome
        waiter.ready.set()

    def _leave_line(self, waiter: Waiter) -> None:
        self._line.remove(waiter)
        waiter.share.waiting -= 1
        self._forget_if_empty(waiter.share)

    def _first_waiting(self, share: Share) -> Waiter | None:
        return next((waiter for waiter in self._line if waiter.share is share), None) if share.waiting else None

    def _is_wanted(self, place: Place) -> bool:
        """Whether a place that was booked for the line is still to be opened; under the lock. It is freed when it isn't."""
        share = place.share
        if share.waiting or place.former is not None:
            return True
        # Whoever it was booked for has been served by another one, or has gone.
        share.opening -= 1
        self._size -= 1
        self._serve_line()
        self._forget_if_empty(share)
        return False

    def _open_for_line(self, place: Place) -> None:
        try:
            connection = self._open(place)
        except BaseException as error:
            self._give_back(place, error=error)
        else:
            self._land(connection, place)

    def _land(self, connection: Connection, place: Place) -> None:
        """Give a connection that was opened for the line to the first of its alias who still waits."""
        share, loan = place.share, self._loans[connection]
        with self._lock:
            share.opening -= 1
            self._add_idle(connection, loan, time.monotonic())
            waiter = self._first_waiting(share)
            if waiter is not None and not self._closed and (outcome := self._take(share)) is not None:
                self._answer(waiter, outcome)
            self._serve_line()
        if not loan.expires_at:
            self._drop_former()
        self._drop_excess()

    def _give_back(self, place: Place, *, lent: bool = False, error: BaseException | None = None) -> None:
        """Free a place in which nothing could be opened. The error is told to the first who waited for it, if it has no borrower."""
        with self._lock:
            self._counters["connections_errors"] += 1
            self._size -= 1
            if lent:
                place.share.lent -= 1
            else:
                place.share.opening -= 1
            if error is not None and (waiter := self._first_waiting(place.share)) is not None:
                self._answer(waiter, error)
            self._serve_line()
            self._forget_if_empty(place.share)
        self._openers.start()

    def _open(self, place: Place) -> Connection:
        """Open a connection in a place, outside the lock, when what stood there is gone from the server."""
        if place.former is not None:
            former = self._loans.pop(place.former)
            close_and_wait([place.former])
            place.former = None
            with self._lock:
                self._forget_if_empty(former.share)
        started = time.monotonic()
        connection = place.share.route.connect()
        now = time.monotonic()
        connection._pool = self  # type: ignore[assignment]  # Django returns a connection through this attribute
        # Each lives and idles up to a tenth shorter than allowed, so that those opened together don't end together.
        jitter = random.uniform(0.9, 1.0)  # noqa: S311
        loan = Loan(place.share, now + self.limits.max_lifetime * jitter, self.limits.max_idle * jitter)
        with self._lock:
            self._counters["connections_num"] += 1
            self._connecting += now - started
            self._loans[connection] = loan
            self.server_limit = connection.server_limit or self.server_limit
            if (owner := place.share.route.owner) is not None and self._is_former(owner):
                loan.expires_at = 0.0
        return connection

    # --- Idle connections --------------------------------------------------------------------------------------------------

    def _add_idle(self, connection: Connection, loan: Loan, since: float) -> None:
        loan.idle_since = since
        self._idle[connection] = None
        loan.share.idle.append(connection)

    def _leave_idle(self, connection: Connection) -> Connection:
        del self._idle[connection]
        self._loans[connection].share.idle.remove(connection)
        return connection

    def _forget_if_empty(self, share: Share) -> None:
        if share.is_empty and self._shares.get(share.route.alias) is share:
            del self._shares[share.route.alias]

    def drop_idle(self, owner: str | None = None) -> int:
        """Close idle connections: all of them, or one owner's. Returns how many."""
        return self._drop(lambda loan: owner is None or loan.share.route.owner == owner)

    def shrink(self) -> int:
        """Close the connections that have been idle for longer than `max_idle`, or open for `max_lifetime`. Returns how many."""
        now = time.monotonic()
        return self._drop(lambda loan: now - loan.idle_since > loan.max_idle or now > loan.expires_at)

    def _drop(self, is_unwanted: Callable[[Loan], bool], most: int | None = None) -> int:
        with self._lock:
            unwanted = [connection for connection in self._idle if is_unwanted(self._loans[connection])][:most]
            for connection in unwanted:
                self._leave_idle(connection)
        if not unwanted:
            return 0
        loans = [self._loans.pop(connection) for connection in unwanted]
        close_and_wait(unwanted)
        with self._lock:
            self._size -= len(unwanted)
            for loan in loans:
                self._forget_if_empty(loan.share)
            self._serve_line()
        self._openers.start()
        return len(unwanted)

    # --- Ended from outside ------------------------------------------------------------------------------------------------

    def retire(self, is_former: Callable[[str], bool]) -> int:
        """Keep no connection of the owners that are former: idle ones are closed now, lent ones when they come back.

        Returns how many were idle.
        """
        with self._lock:
            for loan in self._loans.values():
                if (owner := loan.share.route.owner) is not None and is_former(owner):
                    loan.expires_at = 0.0
        return self._drop_former()

    def _drop_former(self) -> int:
        return self._drop(lambda loan: not loan.expires_at)

    def owners(self) -> set[str]:
        """Whose connections are open: of what owners the pool has any, idle or lent."""
        with self._lock:
            return {owner for loan in self._loans.values() if (owner := loan.share.route.owner) is not None}

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

    # --- The budget, and the end -------------------------------------------------------------------------------------------

    def resize(self, max_size: int) -> None:
        """Change how many may be open. What is too many goes at once where it is idle, and else when it is returned."""
        with self._lock:
            self.max_size = max_size
            self._cap = cap_of(self.limits, max_size)
            self._serve_line()
        self._drop_excess()
        self._openers.start()

    def _drop_excess(self) -> None:
        excess = self._size if self._closed else self._size - self.max_size
        if excess > 0:
            self._drop(lambda loan: True, excess)

    def close(self, timeout: float = 10.0) -> None:
        """Drain: refuse newcomers, wake those who wait, close what is idle, and wait up to `timeout` seconds for what is lent.

        A connection that is lent at the end of that time is closed when it is returned.
        """
        with self._lock:
            self._closed = True
            for waiter in list(self._line):
                self._answer(waiter, PoolClosed(pool=self.name))
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

    # --- Numbers -----------------------------------------------------------------------------------------------------------

    def get_stats(self) -> dict[str, int]:
        """Gauges of now, and counters since the start; see tenants.db.numbers."""
        with self._lock:
            counters = {
                **self._counters,
                "usage_ms": round(self._usage * 1000),
                "requests_wait_ms": round(self._waited * 1000),
                "connections_ms": round(self._connecting * 1000),
            }
            return stats_of(
                max_size=self.max_size,
                size=self._size,
                available=len(self._idle),
                waiting=len(self._line),
                counters=counters,
            )

    @property
    def running(self) -> int:
        """How many connections are lent or being opened."""
        return self._size - len(self._idle)

    @property
    def wanted(self) -> int:
        """How many connections those who borrow and wait now would use, if there were no limit but the pool's own."""
        return min(self.limits.max_size, self.running + len(self._line))
