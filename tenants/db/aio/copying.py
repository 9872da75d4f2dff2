"""COPY out of the active tenant's database: rows as Postgres writes them, in blocks, at constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from django.conf import settings
from django.db.utils import DatabaseErrorWrapper
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.generators import fetch, send
from psycopg.pq import ExecStatus
from psycopg.waiting import Wait

from tenants import context
from tenants.db.aio.compiling import dialect
from tenants.db.aio.connection import Connection
from tenants.db.aio.route import borrow
from tenants.db.statements import is_plain

BLOCK_BYTES = 64 * 1024


async def copy(
    statement: str, params: Sequence[Any] = (), *, timeout: float | None = None, using: str | None = None
) -> AsyncGenerator[bytes, None]:
    """The output of a `COPY … TO STDOUT` in blocks of whole rows, of about BLOCK_BYTES.

    A block is read when it is asked for: a reader that is slow makes Postgres wait, and holds its connection. Close the generator
    (`contextlib.aclosing`) when it isn't read to its end; the query is then cancelled. `%s` in the statement stands for each of
    `params`. It runs in a read-only transaction of its own and for `timeout` seconds at most (default:
    settings.DOWNLOAD_TIMEOUT, in place of the process's statement_timeout), and costs one round trip. `using` names a
    replica of the tenant by its alias; default is the primary. Raises django.db.Error, and what `fetch` raises.
    """
    milliseconds = settings.DOWNLOAD_TIMEOUT if timeout is None else round(timeout * 1000)
    pool, connection = await borrow(using or context.current_tenant().alias)
    try:
        with DatabaseErrorWrapper(dialect()):
            cursor: Any = connection.cursor()
            text = cursor.mogrify(statement, params or None)
            # Of the two limits the plan's on transactions would be the lower one: a download is a transaction of one statement.
            limits = f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL transaction_timeout = 0"
            whole = f"BEGIN READ ONLY; {limits}; {text}; COMMIT"
            connection.touched = connection.touched or not is_plain(statement)
            async with connection.lock:
                await connection.wait(_begin(connection, whole))
                more = True
                while more:
                    block, more = await connection.wait(_next_block(connection))
                    if block:
                        yield block
                await connection.wait(_end(connection))
    finally:
        pool.putconn(connection)


def _begin(connection: Connection, text: str) -> PQGen[None]:
    """Send all of it at once, and read up to where the rows begin."""
    pgconn = connection.pgconn
    pgconn.send_query(text.encode())
    yield from send(pgconn)
    while True:
        result = yield from fetch(pgconn)
        if result is None:
            raise errors.ProgrammingError("the statement is not a COPY … TO STDOUT")
        if result.status == ExecStatus.COPY_OUT:
            return
        if result.status not in _DONE:
            yield from _end(connection)
            raise errors.error_from_result(result)


def _next_block(connection: Connection) -> PQGen[tuple[bytes, bool]]:
    """The rows that have come, up to about BLOCK_BYTES, and whether more may follow. Waits for the first row alone."""
    pgconn = connection.pgconn
    rows: list[bytes | memoryview] = []
    size = 0
    while size < BLOCK_BYTES:
        length, row = pgconn.get_copy_data(1)
        if length > 0:
            rows.append(row)
            size += length
        elif length < 0:
            return b"".join(rows), False
        elif rows:
            break
        else:
            while not (yield Wait.R):
                continue
            pgconn.consume_input()
    return b"".join(rows), True


def _end(connection: Connection) -> PQGen[None]:
    """Read to the end, so that the session is ready for the next query, and raise what went wrong on the way."""
    failed = None
    while (result := (yield from fetch(connection.pgconn))) is not None:
        if result.status not in _DONE:
            failed = failed or result
    if failed is not None:
        raise errors.error_from_result(failed)


_DONE = {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}
