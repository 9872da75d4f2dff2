"""The statements that are safe to run a second time, run a second time.

1. A single statement in autocommit on a replica that ran into a recovery conflict (SQLSTATE 40001: the replica had to replay what the
   statement was still looking at), whose connection broke, or to which the replica hasn't yet what it names (class 42: a table or a
   right that is a moment old): it is run on the primary. Nothing on a replica can have written.
2. The first statement on a borrowed connection, in autocommit, that is a read as the ORM writes one, on a connection that turns
   out dead: it is run on a new one. A later statement isn't: what the session was told before (SET, a temporary table) would be missing.

In both cases no row has been handed out yet: psycopg has them all before `execute` returns. What streams from a server-side cursor is
repeated until its first row is asked for, and no further.

It is here, too, that a primary's refusal to write (25006) is seen: the node is asked for its role at once, and the caller is told
to come again.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
import structlog
from django.db import DatabaseError, OperationalError
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from psycopg.pq import ConnStatus

from tenants.db.connection import Connection, WatchedSession
from tenants.errors import NotPrimary

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper as _Base
else:
    _Base = object

log = structlog.get_logger(__name__)

# How Django's compiler begins a plain read: its columns, an existence, a count. Raw SQL may look so too, and is then a read as well,
# unless it calls a function of its own that writes in a column after the first.
_READ = re.compile(r'SELECT (?:DISTINCT )?(?:"|1 AS "a"|COUNT\(\*\) AS "__count")')
_LOCKS = re.compile(r"\bFOR (?:NO KEY )?(?:UPDATE|SHARE|KEY SHARE)\b")
READ_ONLY, CONFLICT = "25006", "40001"
# Psycopg takes these for its own errors (InternalError), though they say no more than that a transaction lasted too long.
TIMED_OUT = {"25P03", "25P04"}


class RetryingCursor(CursorWrapper):
    """A cursor that runs a statement again, on another connection, where its wrapper says that this is safe."""

    cursor: Any
    db: Any

    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        try:
            result = super()._execute(sql, params, *ignored)  # type: ignore[misc]  # the stubs leave it out
        except DatabaseError as error:
            again = self.db.retry_on(self.cursor, sql, error)
            if again is None:
                raise
            with contextlib.suppress(psycopg.Error):
                self.cursor.close()
            self.cursor, self.db = again.cursor, again.db
            result = super()._execute(sql, params, *ignored)  # type: ignore[misc]  # the stubs leave it out
        self.db.was_used = True
        return result


class RetryingDebugCursor(RetryingCursor, CursorDebugWrapper):
    """The same, where queries are logged (assertNumQueries, DEBUG)."""


class RetryingWrapper(_Base):
    """What a database wrapper needs for it: cursors that ask, and the answer."""

    # Whether a statement succeeded on the connection that is borrowed now.
    was_used = False

    def make_cursor(self, cursor: Any) -> RetryingCursor:
        return RetryingCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> Any:
        return RetryingDebugCursor(cursor, self)

    def get_new_connection(self, conn_params: Any) -> Any:
        self.was_used = False
        return super().get_new_connection(conn_params)

    def retry_on(self, cursor: Any, sql: Any, error: DatabaseError) -> Any:
        """The cursor to run the statement again on, or None: it has failed.

        Raises OperationalError, which can be tried again later, when a primary refused to write or a transaction lasted too long.
        """
        cause = error.__cause__
        connection = cursor.connection
        lost = connection.closed or connection.pgconn.status != ConnStatus.OK
        is_replica = "@" in self.alias
        sqlstate = getattr(cause, "sqlstate", None) or ""
        if sqlstate == READ_ONLY and not is_replica:
            if refuses_to_write(connection, in_transaction=self.in_atomic_block):
                self._leave(connection, error)
            return None
        if sqlstate in TIMED_OUT:
            raise OperationalError(*error.args) from error
        behind = is_replica and is_behind(sqlstate)
        if not (lost or behind) or self.in_atomic_block or not self.autocommit:
            return None
        if lost:
            self.close()  # whatever comes next in this block finds a connection that works
        if not is_replica and (self.was_used or not is_read(sql)):
            return None
        wrapper: Any = self.primary if is_replica else self  # type: ignore[attr-defined]
        log.warning("statement_repeated", alias=self.alias, error=type(cause).__name__)
        named = isinstance(cursor, psycopg.ServerCursor)
        return wrapper.chunked_cursor() if named else wrapper.cursor()

    def _leave(self, connection: Connection, error: DatabaseError) -> NoReturn:
        from tenants.db import monitor, roles

        endpoint = self.pool.endpoint
        if connection.is_standby:
            roles.demoted(endpoint)
        monitor.wake()
        connection.close()  # the pool drops it when it comes back, and its idle neighbours with it
        refused = NotPrimary(endpoint=endpoint.name)
        raise OperationalError(*refused.args) from error


def refuses_to_write(session: WatchedSession, *, in_transaction: bool) -> bool:
    """Whether a refusal (25006) was the node's will: a session's own READ ONLY transaction is a mistake of its code."""
    fenced = session.pgconn.parameter_status(b"default_transaction_read_only") == b"on"
    return session.is_standby or fenced or not in_transaction


def is_behind(sqlstate: str) -> bool:
    """Whether a replica's error may be its own: a recovery conflict, or a name that it hasn't yet."""
    return sqlstate == CONFLICT or sqlstate.startswith("42")


def is_read(sql: Any) -> bool:
    """Whether a statement is a read as the ORM writes one, which can be run twice."""
    return isinstance(sql, str) and _READ.match(sql) is not None and not _LOCKS.search(sql)
