"""One async connection: how it waits, whether it is well, how it is made clean after a borrower was cut off, and how it ends."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Iterable
from typing import Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.generators import fetch
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.waiting import Wait

from tenants.db.closing import CLOSE_TIMEOUT
from tenants.db.connection import WatchedSession
from tenants.db.pools import Endpoint
from tenants.db.statements import is_plain

T = TypeVar("T")

# psycopg looks for a Ctrl-C so often, in seconds; an event loop hears of one by itself, so this is only a timer that seldom rings.
_INTERVAL = 60.0
# Seconds that a server is given to take a cancel, and to answer a check.
CANCEL_TIMEOUT = 1.0
CHECK_TIMEOUT = 1.0
# No query runs. (The status of a connection that was lost is UNKNOWN.)
AT_REST = {TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR}


class Cursor(psycopg.AsyncClientCursor[Any]):
    """Vouches for the statements that leave nothing behind, as tenants.db.connection.WatchedCursor does."""

    _conn: Connection

    def _execute_gen(self, query: Any, params: Any = None, **options: Any) -> PQGen[None]:
        # Here and not in `execute`: the connection's lock is held, so no other task comes in between.
        self._conn.vouched = type(query) is str and is_plain(query)
        try:
            yield from super()._execute_gen(query, params, **options)
        finally:
            self._conn.vouched = False


class Connection(WatchedSession, psycopg.AsyncConnection[Any]):
    """An AsyncConnection that leaves what was cut off to its pool.

    The original cancels the server's query in the task that was cancelled itself, which may take ten seconds with a server that
    doesn't answer, and goes on using the connection when the server could not be asked: a cancel that comes late then hits the query
    of the next borrower.
    """

    # The node that it is to, where that is wanted as its server's primary.
    primary: Endpoint | None = None

    def __init__(self, pgconn: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        self.cursor_factory = Cursor

    async def wait(self, gen: PQGen[T], interval: float = _INTERVAL, timeout: float | None = None) -> T:
        """Run a generator of libpq calls. What it leaves behind when it is interrupted, `make_clean` takes away."""
        return await waiting.wait_async(gen, self.pgconn.socket, interval=_INTERVAL, timeout=timeout)


def is_clean(connection: Connection) -> bool:
    """Whether a session can serve the next borrower as it is, at no round trip."""
    return (
        connection.pgconn.status == ConnStatus.OK
        and connection.pgconn.transaction_status == TransactionStatus.IDLE
        and connection.autocommit
        and not connection.touched
        and not connection.is_in_block
    )


def seems_alive(connection: Connection) -> bool:
    """Whether an idle connection's socket is as it should be, at no round trip: an idle server has nothing to say."""
    if connection.pgconn.status != ConnStatus.OK:
        return False
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):  # an end of file, or a message that libpq must look at
        try:
            connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        if connection.pgconn.status != ConnStatus.OK or poll.poll(0):
            return False
    return True


async def answers(connection: Connection) -> bool:
    """Whether the server answers on an idle connection within CHECK_TIMEOUT: a round trip."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await connection.execute("SELECT 1")
    except (psycopg.Error, OSError, TimeoutError):
        return False
    return True


async def make_clean(connection: Connection) -> bool:
    """Make a session fit for the next borrower: no query, no transaction, and nothing left of what a statement may have left.

    Returns False, or raises psycopg.Error, when it isn't; it must be closed then. A query that still runs is cancelled. Only
    once the server has taken the cancel, and the query has ended, is the session used again: Postgres drops a cancel
    that finds no query before it reads the next one.
    """
    if connection.pgconn.status != ConnStatus.OK or connection.is_in_block:
        return False
    if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
        await connection.cancel_safe(timeout=CANCEL_TIMEOUT)
        await connection.wait(_to_the_end(connection))
    if connection.pgconn.transaction_status != TransactionStatus.IDLE:
        await connection.rollback()
    await connection.set_autocommit(True)
    if connection.touched:
        # Settings return to those of the start-up options, the role to the one that signed in.
        await connection.execute("DISCARD ALL")
        connection.was_reset()
    return is_clean(connection)


def _to_the_end(connection: Connection) -> PQGen[None]:
    """Read what is left of a query's results, rows of a COPY included, and throw it away."""
    pgconn = connection.pgconn
    while pgconn.flush():
        yield Wait.RW
        pgconn.consume_input()
    while (result := (yield from fetch(pgconn))) is not None:
        if result.status == ExecStatus.COPY_OUT:
            while (size := pgconn.get_copy_data(1)[0]) >= 0:
                if size == 0:
                    while not (yield Wait.R):
                        continue
                    pgconn.consume_input()
        elif result.status == ExecStatus.COPY_IN:
            pgconn.put_copy_end(b"abandoned")


async def close_and_wait(connections: Iterable[Connection]) -> None:
    """End connections and wait until the server has closed its side, which it does once the backend is gone."""
    ends: list[socket.socket] = []
    for connection in connections:
        try:
            ends.append(socket.socket(fileno=os.dup(connection.pgconn.socket)))
        except (psycopg.Error, OSError):  # it was closed already
            pass
        await connection.close()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await asyncio.gather(*(_end_of_file(end) for end in ends))
    except TimeoutError:
        pass
    finally:
        for end in ends:
            end.close()


async def _end_of_file(end: socket.socket) -> None:
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(end, 4096):
            pass
    except OSError:
        pass
