"""Queries of the active tenant, run natively async: one round trip each, on a connection that is borrowed for that time alone.

Independent queries run side by side with asyncio.gather, each on a connection of its own. Inside `transaction()` all run on the
block's connection, one after the other. Errors are Django's own (django.db.Error), and PoolTimeout or TooManyRequests when no
connection came free. A query whose task is cancelled is cancelled at the server, by the pool.

Reads go to the primary unless a queryset names a replica (`using`): `tenants.reads` is for threads. What failed there, or on a dead
connection, is repeated as tenants.db.retry does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import structlog
from django.db import DatabaseError
from django.db.models import QuerySet
from django.db.transaction import TransactionManagementError
from django.db.utils import DatabaseErrorWrapper
from psycopg.pq import ConnStatus, TransactionStatus

from tenants import context
from tenants.db.aio.compiling import Compiled, Dialect, Rows, dialect
from tenants.db.aio.connection import Connection
from tenants.db.aio.route import borrow, leave_primary
from tenants.db.retry import READ_ONLY, TIMED_OUT, is_behind, is_read, refuses_to_write
from tenants.errors import CrossTenant, NotPrimary, TransactionElsewhere
from tenants.refs import owner_of

log = structlog.get_logger(__name__)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave back: its rows, if it has any, and how many rows it touched."""

    rows: Rows
    rowcount: int


@dataclass(slots=True)
class _Transaction:
    """The block that is open here: on which connection, in whose database, opened by which task, and how many are nested in it."""

    connection: Connection
    alias: str
    task: asyncio.Task[Any] | None
    savepoints: int = 0


_transaction: ContextVar[_Transaction | None] = ContextVar("tenants_async_transaction", default=None)


async def fetch(queryset: QuerySet[Any, R]) -> list[R]:
    """All results of a queryset: instances, with what `select_related` names, or dictionaries of `.values()`, and so on.

    Raises ValueError for `prefetch_related`, and NoTenant.
    """
    compiled = Compiled(queryset)
    if not compiled.sql:
        return []
    result = await _ask(compiled.alias, compiled.sql, compiled.params)
    return compiled.results(result.rows)


async def fetch_one(queryset: QuerySet[Any, R]) -> R | None:
    """The first result of a queryset, or None."""
    found = await fetch(queryset[:1])
    return found[0] if found else None


async def execute(statement: str, params: Sequence[Any] = ()) -> Result:
    """Run a statement of your own on the tenant's primary, with `%s` for each of `params`.

    Whatever it may have left in the session (tenants.db.statements tells) is discarded when the connection is given back.
    """
    return await _ask(context.current_tenant().alias, statement, params)


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """A transaction on the tenant's primary: committed at the end of the block, rolled back when it raises; a savepoint inside another.

    It belongs to the task that opened it: in another one queries raise TransactionElsewhere. Raises TransactionManagementError at
    the end of a block in which a statement failed, though its error was caught: nothing of it is committed.
    """
    outer = _open_here()
    if outer is not None:
        outer.savepoints += 1
        name = f"async_{outer.savepoints}"
        block = _block(outer.connection, f"SAVEPOINT {name}", f"RELEASE {name}", f"ROLLBACK TO {name}; RELEASE {name}")
        async with block:
            yield
        return
    alias = context.current_tenant().alias
    async with _connection(alias) as connection:
        token = _transaction.set(_Transaction(connection, alias, asyncio.current_task()))
        try:
            async with _block(connection, "BEGIN", "COMMIT", "ROLLBACK"):
                yield
        finally:
            _transaction.reset(token)


@asynccontextmanager
async def _block(connection: Connection, begin: str, commit: str, roll_back: str) -> AsyncIterator[None]:
    await _run(connection, begin)
    try:
        yield
    except asyncio.CancelledError:  # the pool rolls back, so that the end of a cancelled task waits for no server
        raise
    except BaseException:
        if connection.pgconn.transaction_status in _IN_TRANSACTION:
            await _run(connection, roll_back)
        raise
    if connection.pgconn.transaction_status == TransactionStatus.INERROR:
        await _run(connection, roll_back)  # COMMIT would do the same and say nothing
        raise TransactionManagementError("A statement of this transaction failed, so nothing of it was committed.")
    await _run(connection, commit)


def _open_here() -> _Transaction | None:
    """The transaction that this task has open. Raises TransactionElsewhere, and CrossTenant when it is another tenant's."""
    found = _transaction.get()
    if found is None:
        return None
    if found.task is not asyncio.current_task():
        raise TransactionElsewhere()
    ref = context.current_tenant()
    if found.alias != ref.alias:
        raise CrossTenant(what="The open transaction", belongs_to="another tenant", used_in=str(ref))
    return found


@asynccontextmanager
async def _connection(alias: str) -> AsyncIterator[Connection]:
    """The connection of the transaction that is open here, else one of the pool's for the time of the block."""
    found = _open_here()
    if found is not None:
        yield found.connection
        return
    pool, connection = await borrow(alias)
    try:
        yield connection
    finally:
        pool.putconn(connection)


async def _ask(alias: str, statement: str, params: Sequence[Any]) -> Result:
    """Run one statement, and once more where that is safe: on the primary what a replica couldn't do, a read whose connection was dead."""
    async with _connection(alias) as connection:
        try:
            return await _run(connection, statement, params)
        except DatabaseError as error:
            if _open_here() is not None or not _may_be_repeated(connection, alias, statement, error):
                raise
            log.warning("statement_repeated", alias=alias, error=type(error.__cause__).__name__)
    async with _connection(owner_of(alias)) as connection:
        return await _run(connection, statement, params)


def _may_be_repeated(connection: Connection, alias: str, statement: str, error: DatabaseError) -> bool:
    is_replica, sqlstate = "@" in alias, _sqlstate_of(error)
    if is_replica and is_behind(sqlstate):
        return True
    lost = connection.pgconn.status != ConnStatus.OK and sqlstate not in {READ_ONLY, *TIMED_OUT}
    return lost and (is_replica or is_read(statement))


def _sqlstate_of(error: BaseException) -> str:
    """What the server said, of which Django's error and ours are made; empty when it said nothing."""
    cause = error.__cause__
    return getattr(error, "sqlstate", None) or (_sqlstate_of(cause) if cause is not None else "")


async def _run(connection: Connection, statement: str, params: Sequence[Any] = ()) -> Result:
    with _django_errors:
        try:
            cursor = await connection.execute(statement, params or None)
        except psycopg.Error as error:
            if error.sqlstate in TIMED_OUT:
                raise psycopg.OperationalError(*error.args) from error
            primary = connection.primary
            in_transaction = connection.pgconn.transaction_status in _IN_TRANSACTION
            if (
                error.sqlstate == READ_ONLY
                and primary is not None
                and refuses_to_write(connection, in_transaction=in_transaction)
            ):
                await leave_primary(connection, primary)
                raise NotPrimary(endpoint=primary.name) from error
            raise
        return Result(await cursor.fetchall() if cursor.description else [], cursor.rowcount)


_IN_TRANSACTION = {TransactionStatus.INTRANS, TransactionStatus.INERROR}
_django_errors = DatabaseErrorWrapper(dialect())
Dialect.is_in_transaction = staticmethod(lambda: _transaction.get() is not None)
