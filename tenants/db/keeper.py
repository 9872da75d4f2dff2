"""Keeps the leases of this process's pools: one thread, with one session to the control database, off the path of any request.

A pool starts with nothing and gets its first lease a few milliseconds later; whoever wants a connection meanwhile waits in its line. From
then on the thread renews all leases together, sooner when somebody waits in a pool that may not grow.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import psycopg
import structlog
from django.conf import settings

from tenants.db import budget
from tenants.db.books import PoolLimits
from tenants.db.budget import Asking, Holding

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT = 4.0  # seconds that control has to answer
SHORT_INTERVAL = 0.5  # seconds between two renewals while somebody waits for what this process may not open
MIN_INTERVAL = 0.2  # seconds between two renewals, however urgent


class Leased(Protocol):
    """What a lease is for: a pool that can be resized."""

    name: str
    limits: PoolLimits
    max_size: int
    server_limit: int
    on_shortage: Callable[[], None]

    @property
    def wanted(self) -> int: ...
    def resize(self, max_size: int) -> None: ...
    def get_stats(self) -> dict[str, int]: ...
    def shrink(self) -> Any: ...


@dataclass(slots=True, eq=False)
class _Kept:
    pool: Leased
    endpoint: str
    holder: UUID = field(default_factory=uuid4)
    size: int = 0
    renewed_at: float = 0.0  # monotonic; 0: never


_kept: list[_Kept] = []
_thread: threading.Thread | None = None
_lock = threading.Lock()
_wake = threading.Event()
_stopping = threading.Event()


def keep(pool: Leased, host: str, port: int) -> None:
    """Let the pool have what its lease allows from now on. In a process whose kind leases nothing it keeps its own numbers."""
    global _thread
    if not settings.POOL_LEASES:
        return
    pool.on_shortage = _wake.set
    pool.resize(0)
    with _lock:
        _kept.append(_Kept(pool, f"{host}:{port}"))
        if _thread is None or not _thread.is_alive():
            _stopping.clear()
            _thread = threading.Thread(target=_renew_all_the_time, name="pool-leases", daemon=True)
            _thread.start()
    _wake.set()


def stop(timeout: float = 2.0) -> None:
    """Give all leases back, when the pools are closed. Without it they are forgotten after budget.EXPIRES_AFTER seconds."""
    _stopping.set()
    _wake.set()
    if _thread is not None:
        _thread.join(timeout)


def _renew_all_the_time() -> None:
    connection: psycopg.AsyncConnection[Any] | None = None
    failing = False
    # Only an event loop can give up a question to a server that hangs, so each round is a short run of one.
    with asyncio.Runner() as runner:
        while True:
            _wait()
            try:
                connection = runner.run(_round(connection))
            except (psycopg.Error, OSError, TimeoutError) as error:
                connection = None
                if not failing:
                    log.warning("leases_not_renewed", error=type(error).__name__)
                failing = True
                _let_lapse()
            else:
                failing = False
            if connection is None and _stopping.is_set():
                return
            for kept in _kept:
                kept.pool.shrink()


def _wait() -> None:
    """Wait until leases are to be renewed: soon when somebody waits for what this process may not open."""
    began = time.monotonic()
    short = any(kept.pool.wanted > kept.size for kept in list(_kept))
    _wake.wait(SHORT_INTERVAL if short else budget.RENEW_INTERVAL)
    _wake.clear()
    if all(kept.renewed_at for kept in list(_kept)):  # one that has just been made waits for nothing
        _stopping.wait(MIN_INTERVAL - (time.monotonic() - began))


async def _round(connection: psycopg.AsyncConnection[Any] | None) -> psycopg.AsyncConnection[Any] | None:
    """Renew all leases, or give them back at the end. Returns the session for the next round."""
    if connection is None:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            connection = await _connect()
    ending = _stopping.is_set()
    work = asyncio.create_task(_give_back(connection) if ending else _renew(connection))
    await asyncio.wait([work], timeout=ANSWER_TIMEOUT)
    if not work.done():
        # The socket is dropped first: asked to stop a question, psycopg would ask the server to, and wait for a hung one.
        connection.pgconn.finish()
        work.cancel()
        await asyncio.wait([work])
        raise TimeoutError
    if work.exception() is not None:
        connection.pgconn.finish()
    work.result()
    return None if ending else connection


async def _give_back(connection: psycopg.AsyncConnection[Any]) -> None:
    await budget.give_back(connection, [kept.holder for kept in _kept])
    await connection.close()


async def _renew(connection: psycopg.AsyncConnection[Any]) -> None:
    asked_at = time.monotonic()
    asked = _askings()
    granted = await budget.renew(connection, list(asked.values()))
    for kept in asked:
        size = granted[kept.holder]
        if size < kept.size:
            _wake.set()  # the row still says what it had: others may take the rest once the pool keeps to less
        kept.size, kept.renewed_at = size, asked_at
        if size != kept.pool.max_size:
            kept.pool.resize(size)


def _askings() -> dict[_Kept, Asking]:
    control = settings.DATABASES["control"]
    at_control = f"{control['HOST']}:{control['PORT']}"
    process = f"{settings.TENANTRY_PROCESS} {os.getpid()}@{socket.gethostname()}"[:100]
    askings: dict[_Kept, Asking] = {}
    for kept in _kept:
        pool = kept.pool
        size = pool.get_stats()["pool_size"]
        wanted = max(1, pool.wanted)
        # This thread's own session counts with the first pool of its endpoint.
        is_first = kept.endpoint == at_control and all(asking.endpoint != at_control for asking in askings.values())
        besides = 1 if is_first else 0
        askings[kept] = Asking(
            endpoint=kept.endpoint,
            holder=kept.holder,
            process=process,
            has=Holding(kept.size + besides, wanted + besides),
            most=min(pool.limits.max_size, max(wanted, size) + budget.HEADROOM),
            open=size,
            server_limit=pool.server_limit,
            besides=besides,
        )
    return askings


def _let_lapse() -> None:
    """Fall back to one connection where the lease could not be renewed in time, so that an error reaches who borrows."""
    for kept in _kept:
        if not kept.renewed_at or time.monotonic() - kept.renewed_at > budget.LAPSES_AFTER:
            kept.size = 0
            if kept.pool.max_size != 1:
                kept.pool.resize(1)


async def _connect() -> psycopg.AsyncConnection[Any]:
    from tenants.db.options import NETWORK_OPTIONS, application_name
    from tenants.db.urls import connection_arguments
    from tenants.servers import control_parameters

    control = await asyncio.to_thread(control_parameters)
    return await psycopg.AsyncConnection.connect(
        autocommit=True,
        **{
            **connection_arguments(control),
            **NETWORK_OPTIONS,
            **control["OPTIONS"],
            "application_name": application_name("leases"),
            # The server notices within seconds when this machine is gone, and ends the session, and with it the leases.
            "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
            " -c statement_timeout=3000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=5000",
        },
    )


def _start_empty_after_fork() -> None:
    """A child has pools, and a thread, of its own."""
    global _thread, _lock, _wake, _stopping
    _thread, _lock, _wake, _stopping = None, threading.Lock(), threading.Event(), threading.Event()
    _kept.clear()


os.register_at_fork(after_in_child=_start_empty_after_fork)
