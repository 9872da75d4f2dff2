"""ServerPool's state machine against a real server: borrowers come and go, connections die, the budget changes, in any order.

After each step everything that can happen by itself has happened; then the books must add up and nobody may wait for what could be had.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tenants.db.books import PoolLimits
from tenants.db.connection import Connection
from tenants.db.pool import ServerPool
from tests.tenants.conftest import DatabaseRoute, primary_url

BUDGET = 4
CAP = 2
MAX_WAITING = 6
NAME = f"pool-machine-{os.getpid()}"
TENANTS = st.integers(0, 4)
ORDINARY = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


class Borrower:
    """A thread that borrows one connection and keeps what it got, or the error."""

    def __init__(self, pool: ServerPool, route: DatabaseRoute, timeout: float) -> None:
        self.tenant = route.database
        self.connection: Connection | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._borrow, args=(pool, route, timeout), daemon=True)
        self.thread.start()

    def _borrow(self, pool: ServerPool, route: DatabaseRoute, timeout: float) -> None:
        try:
            self.connection = pool.getconn(route, timeout)
        except Exception as error:
            self.error = error

    @property
    def is_done(self) -> bool:
        return self.connection is not None or self.error is not None


class PoolMachine(RuleBasedStateMachine):
    pool_class: type[ServerPool] = ServerPool
    databases: list[str]

    def __init__(self) -> None:
        super().__init__()
        limits = PoolLimits(
            max_size=BUDGET, max_per_tenant=CAP, max_waiting=MAX_WAITING, max_waiting_per_tenant=2, max_lifetime=30.0
        )
        self.former: set[str] = set()  # owners
        self.pool = self.pool_class("machine", limits, is_former=self.former.__contains__)
        self.observer = psycopg.connect(primary_url(), autocommit=True)
        self.borrowers: list[Borrower] = []
        self.asked = self.refused = 0

    # --- What may happen -------------------------------------------------------------------------------------------------

    @rule(tenant=TENANTS)
    def borrow(self, tenant: int) -> None:
        self._borrow(tenant, 60.0)

    @rule(tenant=TENANTS)
    def borrow_without_patience(self, tenant: int) -> None:
        running = [borrower.tenant for borrower in self._lent()].count(self.databases[tenant])
        # With one lent another would be opened for the line, or not, as the threads happen to run: not a history to repeat.
        if running != 1:
            self._borrow(tenant, 0.0)

    def _borrow(self, tenant: int, timeout: float) -> None:
        self.asked += 1
        self.borrowers.append(Borrower(self.pool, DatabaseRoute(self.databases[tenant], NAME), timeout))
        if timeout < 1.0:
            self.borrowers[-1].thread.join()

    @precondition(lambda self: self._lent())
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        borrower = data.draw(st.sampled_from(self._lent()))
        self.borrowers.remove(borrower)
        self.pool.putconn(borrower.connection)

    @precondition(lambda self: self._lent())
    @rule(data=st.data())
    def give_back_with_something_left_in_it(self, data: Any) -> None:
        borrower = data.draw(st.sampled_from(self._lent()))
        self.borrowers.remove(borrower)
        borrower.connection.autocommit = False
        try:
            borrower.connection.execute("SET application_name = 'somebody'")
        except psycopg.OperationalError:
            pass  # the server had ended it
        self.pool.putconn(borrower.connection)

    @precondition(lambda self: self._lent())
    @rule(data=st.data())
    def give_back_twice(self, data: Any) -> None:
        borrower = data.draw(st.sampled_from(self._lent()))
        self.borrowers.remove(borrower)
        self.pool.putconn(borrower.connection)
        if borrower.connection not in {other.connection for other in self.borrowers}:
            self._settle()
            if borrower.connection not in {other.connection for other in self.borrowers}:
                with pytest.raises(ValueError, match="hasn't lent"):
                    self.pool.putconn(borrower.connection)

    @rule(tenant=TENANTS)
    def end_the_backends_of_a_tenant(self, tenant: int) -> None:
        self.observer.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = %s AND datname = %s",
            [NAME, self.databases[tenant]],
        )

    @rule(tenant=TENANTS)
    def forget_a_tenant(self, tenant: int) -> None:
        self.pool.drop_idle(self.databases[tenant])

    @rule(tenant=TENANTS)
    def retire(self, tenant: int) -> None:
        """A route becomes a former one, whatever is on its way: none of its connections is idle after that."""
        self.former.add(self.databases[tenant])
        self.pool.retire(self.former.__contains__)
        self._settle()
        assert self.databases[tenant] not in {
            loan.share.route.owner for loan in self.pool._loans.values() if not loan.lent_at
        }
        self.former.clear()  # the next epoch has the same name here

    @rule()
    def drop_idle(self) -> None:
        self.pool.drop_idle()

    @rule(max_size=st.integers(1, BUDGET))
    def resize(self, max_size: int) -> None:
        self.pool.resize(max_size)

    # --- What must hold ----------------------------------------------------------------------------------------------------

    @invariant()
    def once_at_rest_everything_holds(self) -> None:
        self._settle()
        self.the_books_add_up()
        self.the_budget_holds_on_the_server()
        self.the_caps_hold()
        self.nobody_waits_for_what_could_be_had()
        self.who_borrowed_is_in_the_right_database()

    def the_books_add_up(self) -> None:
        stats = self.pool.get_stats()
        lent = self._lent()
        assert stats["pool_size"] == stats["pool_available"] + len(lent) == len(self.pool._loans)
        assert len({id(borrower.connection) for borrower in lent}) == len(lent)
        assert stats["requests_num"] == self.asked
        assert stats["requests_waiting"] == len(self._waiting()) <= MAX_WAITING
        served = self.asked - self.refused - stats["requests_waiting"]
        assert served >= len(lent)
        assert stats["requests_errors"] <= self.refused
        assert stats["connections_num"] >= stats["pool_size"] + stats["connections_stolen"]
        shares = self.pool._shares.values()
        assert sum(len(share.idle) for share in shares) == stats["pool_available"]
        assert sum(share.lent for share in shares) == len(lent)
        assert sum(share.waiting for share in shares) == stats["requests_waiting"]
        assert not any(share.opening or share.is_empty for share in shares)

    def the_budget_holds_on_the_server(self) -> None:
        size = self.pool.get_stats()["pool_size"]
        lent = len(self._lent())
        assert size <= max(self.pool.max_size, lent)
        deadline = time.monotonic() + 5.0
        while (backends := self._backends()) > size and time.monotonic() < deadline:
            time.sleep(0.005)  # the server needs a moment to end the backend of a connection that was closed
        assert backends <= size

    def the_caps_hold(self) -> None:
        running = [borrower.tenant for borrower in self._lent()]
        assert all(running.count(tenant) <= CAP for tenant in running)

    def nobody_waits_for_what_could_be_had(self) -> None:
        stats = self.pool.get_stats()
        for waiter in self.pool._line:
            at_its_cap = waiter.share.lent >= self.pool._cap
            nothing_left = not stats["pool_available"] and stats["pool_size"] >= self.pool.max_size
            assert at_its_cap or nothing_left, f"{waiter.share.route.alias} waits: {stats}"

    def who_borrowed_is_in_the_right_database(self) -> None:
        for borrower in self._lent():
            assert borrower.connection is not None
            assert borrower.connection.info.dbname == borrower.tenant
            assert borrower.connection.autocommit

    # --- Helpers -------------------------------------------------------------------------------------------------------------

    def _lent(self) -> list[Borrower]:
        return [borrower for borrower in self.borrowers if borrower.connection is not None]

    def _waiting(self) -> list[Borrower]:
        return [borrower for borrower in self.borrowers if not borrower.is_done]

    def _backends(self) -> int:
        (count,) = self.observer.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name IN (%s, 'somebody') AND datname = ANY(%s)",
            [NAME, list(self.databases)],
        ).fetchall()[0]
        return int(count)

    def _settle(self) -> None:
        """Wait until every borrower has its answer or stands in the line, and nothing is being opened."""
        deadline = time.monotonic() + 10.0
        while True:
            waiting = len(self._waiting())
            if waiting == self.pool.get_stats()["requests_waiting"] and self.pool._openers.is_at_rest:
                break
            assert time.monotonic() < deadline, "the pool doesn't come to rest"
            time.sleep(0.001)
        for borrower in [borrower for borrower in self.borrowers if borrower.error is not None]:
            self.borrowers.remove(borrower)
            self.refused += 1
            assert isinstance(borrower.error, psycopg.OperationalError), borrower.error

    def teardown(self) -> None:
        try:
            self._settle()
            self.pool.close(0.0)
            for borrower in self.borrowers:
                borrower.thread.join(5.0)
                if borrower.connection is not None:
                    self.pool.putconn(borrower.connection)
            assert self.pool.get_stats()["pool_size"] == 0
            assert self.pool._shares == {}
        finally:
            for borrower in self.borrowers:
                if borrower.connection is not None:
                    borrower.connection.close()
            self.observer.close()


def test_the_pool_keeps_its_promises_whatever_happens(databases: list[str]) -> None:
    PoolMachine.databases = databases[:5]
    run_state_machine_as_test(PoolMachine, settings=ORDINARY)  # type: ignore[no-untyped-call]


@pytest.mark.scenario
def test_the_pool_keeps_its_promises_in_many_more_histories(databases: list[str]) -> None:
    PoolMachine.databases = databases[:5]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        PoolMachine, settings=settings(ORDINARY, max_examples=400, stateful_step_count=50)
    )


# --- Controls: a pool with one protection taken out fails ------------------------------------------------------------------


class ForgetsTheLine(ServerPool):
    """Gives what comes back to nobody."""

    def _serve_line(self) -> None:
        pass


class IgnoresCaps(ServerPool):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cap = BUDGET

    def resize(self, max_size: int) -> None:
        super().resize(max_size)
        self._cap = BUDGET


class OpensBesideTheVictim(ServerPool):
    """Opens in a stolen place without closing what stands there."""

    def _open(self, place: Any) -> Connection:
        former, place.former = place.former, None
        connection = super()._open(place)
        if former is not None:
            self._loans.pop(former)
            self.kept = [*getattr(self, "kept", []), former]
        return connection

    def close(self, timeout: float = 10.0) -> None:
        super().close(timeout)
        for connection in getattr(self, "kept", []):
            connection.close()


class ForgetsPlacesThatFailed(ServerPool):
    """Counts a connection that came back broken for ever."""

    def _end(self, connection: Connection, loan: Any, used: float, *, usable: bool) -> None:
        super()._end(connection, loan, used, usable=usable)
        if not usable:
            self._size += 1


@pytest.mark.parametrize(
    ("broken", "tenants"),
    [(ForgetsTheLine, 5), (IgnoresCaps, 1), (OpensBesideTheVictim, 5), (ForgetsPlacesThatFailed, 5)],
)
def test_control_a_broken_pool_is_found(databases: list[str], broken: type[ServerPool], tenants: int) -> None:
    """Among five tenants one seldom comes near its cap, so that control has a single one.

    The search ends with the first example that fails: as threads don't repeat themselves exactly, 60 were once not enough.
    """
    of_each = (databases[:tenants] * 5)[:5]
    machine = type(f"{broken.__name__}Machine", (PoolMachine,), {"pool_class": broken, "databases": of_each})
    found = settings(
        ORDINARY, max_examples=500, phases=["generate"], report_multiple_bugs=False, database=None, derandomize=True
    )
    # Threads and a server don't repeat themselves exactly, of which Hypothesis complains once the assertion has failed.
    with pytest.raises((AssertionError, Flaky)) as error:
        run_state_machine_as_test(machine, settings=found)  # type: ignore[no-untyped-call]
    beneath = getattr(error.value, "exceptions", ())
    assert AssertionError in {type(error.value), type(error.value.__context__), *map(type, beneath)}
