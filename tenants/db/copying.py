"""COPY … TO STDOUT: rows of any number, one after the other, in constant memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db import connections
from psycopg import Connection, Copy

from tenants.db.base import DatabaseWrapper


class Copies:
    """The COPYs that somebody has begun, for another thread that may have to interrupt them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: set[Connection[Any]] = set()

    @contextmanager
    def running_on(self, connection: Connection[Any]) -> Iterator[None]:
        """A COPY runs on the connection while the block does."""
        self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:  # whoever interrupts it has done so before the connection is somebody else's
                self._connections.discard(connection)

    def interrupt(self, *, timeout: float) -> None:
        """Have Postgres cancel them, in `timeout` seconds each at most. Raises psycopg.Error."""
        with self._lock:
            for connection in list(self._connections):
                connection.cancel_safe(timeout=timeout)


# Those of this context, where somebody wants to know.
copies: ContextVar[Copies | None] = ContextVar("copies", default=None)


def copy_rows(statement: str, params: Sequence[Any] = (), *, alias: str = "default") -> Iterator[bytes]:
    """Run a COPY … TO STDOUT in the database of `alias`; each item is one row as Postgres writes it, its line's end included.

    It borrows a connection for itself until the iterator ends or is closed, and starts with the first row that is asked for. The tenant
    need be active only when this is called. Postgres ends it after settings.DOWNLOAD_TIMEOUT milliseconds, however slowly it is read:
    then psycopg.errors.QueryCanceled is raised. Values are quoted by psycopg: COPY itself takes no parameters.
    """
    return _rows(_wrapper(alias), statement, params)


def copy_blocks(
    statement: str, params: Sequence[Any] = (), *, alias: str = "default", size: int = 256 * 1024
) -> Iterator[tuple[bytes, int]]:
    """The same for files: the rows joined to blocks of about `size` bytes, each with how many rows it has.

    Each row is copied and let go before the next one is read: libpq then needs no new memory for it. A list of rows, joined, takes three
    times as long.
    """
    return _blocks(_wrapper(alias), statement, params, size)


def _wrapper(alias: str) -> DatabaseWrapper:
    wrapper = connections[alias]
    assert isinstance(wrapper, DatabaseWrapper)
    return wrapper


def _rows(wrapper: DatabaseWrapper, statement: str, params: Sequence[Any]) -> Iterator[bytes]:
    with _copying(wrapper, statement, params) as copy:
        for row in copy:
            yield bytes(row)


def _blocks(wrapper: DatabaseWrapper, statement: str, params: Sequence[Any], size: int) -> Iterator[tuple[bytes, int]]:
    block, count = bytearray(), 0
    with _copying(wrapper, statement, params) as copy:
        for row in copy:
            block += row
            count += 1
            if len(block) >= size:
                yield bytes(block), count
                block, count = bytearray(), 0
    if block:
        yield bytes(block), count


@contextmanager
def _copying(wrapper: DatabaseWrapper, statement: str, params: Sequence[Any]) -> Iterator[Copy]:
    known = copies.get()
    connection = wrapper.pool.getconn()
    try:
        with known.running_on(connection) if known else nullcontext(), connection.transaction():
            # In the place of the process's limits: a download is a transaction of one statement.
            milliseconds = int(settings.DOWNLOAD_TIMEOUT)
            connection.execute(
                f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL transaction_timeout = 0; "
                f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}"
            )
            with connection.cursor() as cursor, cursor.copy(statement, params) as copy:
                yield copy
    finally:
        connection._pool.putconn(connection)  # type: ignore[union-attr]  # the pool that lent it


def in_blocks(rows: Iterator[bytes], size: int = 64 * 1024) -> Iterator[bytes]:
    """The rows joined to blocks of about `size` bytes, which a socket takes more willingly."""
    block: list[bytes] = []
    length = 0
    try:
        for row in rows:
            block.append(row)
            length += len(row)
            if length >= size:
                yield b"".join(block)
                block, length = [], 0
        if block:
            yield b"".join(block)
    finally:
        close = getattr(rows, "close", None)
        if close is not None:
            close()
