"""A connection that can be lent again and again: it knows whether it is alive, and whether a borrower left something in its session."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

from tenants.db.statements import is_plain

if TYPE_CHECKING:
    from psycopg._connection_base import BaseConnection

    _BaseConnection = BaseConnection[Any]
else:
    _BaseConnection = object

# Seconds. A connection that was idle for longer is asked first: a network that swallows packets shows in no socket state.
CHECK_AFTER_IDLE = 30.0
# Seconds that the server has to answer what the pool itself asks.
ANSWER_TIMEOUT = 2.0


class WatchedSession(_BaseConnection):
    """A connection, of threads or of an event loop, that notes when a statement ran that may have left something in its session.

    A statement counts as one that may have, unless the cursor that runs it has seen that it doesn't. So a cursor of another class
    is safe too, and costs a round trip on return.
    """

    # How many connections the server gives to all its clients, where whoever opened this one has asked; else 0.
    server_limit = 0
    vouched = False
    touched = False

    def _start_query(self) -> PQGen[None]:
        # What every cursor calls before it sends a statement, whatever its class and method.
        if not self.vouched:
            self.touched = True
        return super()._start_query()

    @property
    def is_standby(self) -> bool:
        """Whether its server is in recovery. Postgres tells this when a session starts, and whenever it changes."""
        return self.pgconn.parameter_status(b"in_hot_standby") == b"on"

    @property
    def is_in_block(self) -> bool:
        """Whether a borrower left it in the midst of psycopg's own `transaction()` or `pipeline()`: nothing can be told of it then."""
        return bool(self._num_transactions) or self._pipeline is not None

    def was_reset(self) -> None:
        """Note that the server has discarded all of the session."""
        self._prepared.clear()
        self.touched = False

    def forget_borrower(self) -> None:
        """Forget what the borrower told this side of the connection."""
        self._isolation_level = self._read_only = self._deferrable = None
        self._begin_statement = b""
        self._notify_handlers.clear()
        self._notice_handlers.clear()


class Connection(WatchedSession, psycopg.Connection[Any]):
    """psycopg's connection, whose session is reset on return when a statement ran that may have left something in it."""

    def __init__(self, pgconn: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        self.cursor_factory = Cursor
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)

    def is_alive(self, idle_for: float) -> bool:
        """Whether the connection still works after `idle_for` seconds, without a round trip unless that was long."""
        if self.pgconn.status != ConnStatus.OK:
            return False
        if self._poll.poll(
            0
        ):  # an idle server has nothing to say: an end of file, or a message that libpq must look at
            try:
                self.pgconn.consume_input()
            except psycopg.OperationalError:
                return False
            if self.pgconn.status != ConnStatus.OK or self._poll.poll(0):
                return False
        return idle_for <= CHECK_AFTER_IDLE or self._run(b"")

    def clean(self) -> bool:
        """Make the session fit for the next borrower: no transaction, and nothing left behind. Returns whether that succeeded.

        There is a round trip only when a transaction is open, or when a statement may have left something.
        """
        pgconn = self.pgconn
        if pgconn.status != ConnStatus.OK or self.is_in_block:
            return False
        status = pgconn.transaction_status
        if status != TransactionStatus.IDLE:
            if status == TransactionStatus.ACTIVE:
                # A query was abandoned in its midst, such as a COPY that was not read. It is cancelled, so that the
                # backend is gone before it counts no more.
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=1.0)
                return False
            if not self._run(b"ROLLBACK"):
                return False
        if self.touched:
            # Settings return to those of the start-up options, the role to the one that signed in.
            if not self._run(b"DISCARD ALL"):
                return False
            self.was_reset()
        if not self._autocommit:
            self.autocommit = True
        self.forget_borrower()
        return True

    def _run(self, command: bytes) -> bool:
        """Have the server run a command within ANSWER_TIMEOUT. psycopg's own calls wait for a hung server for ever."""
        deadline = time.monotonic() + ANSWER_TIMEOUT
        pgconn = self.pgconn
        try:
            pgconn.send_query(command)
            pgconn.flush()
            while True:
                while pgconn.is_busy():
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._poll.poll(left * 1000):
                        return False
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    return True
                if result.status not in {ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY}:
                    return False
        except psycopg.OperationalError:
            return False


class WatchedCursor(psycopg.Cursor[Any]):
    """Vouches for the statements that leave nothing behind. A mixin for classes of cursors."""

    _conn: Connection

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        connection = self._conn
        connection.vouched = type(query) is str and is_plain(query)
        try:
            return super().execute(query, params, **options)
        finally:
            connection.vouched = False

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        connection = self._conn
        connection.vouched = type(query) is str and is_plain(query)
        try:
            super().executemany(query, params_seq, **options)
        finally:
            connection.vouched = False


class Cursor(WatchedCursor):
    """psycopg's own cursor, watched."""
