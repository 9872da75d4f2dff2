"""How far each replica is, and which one will do for a reader.

One thread in a process samples the replicas of the servers that it reads from. A sample is a lower bound of what the replica has
replayed, so a reader's LSN is compared with it in memory, at no round trip. Lag is counted in bytes: time reads seconds on an idle
replica that has everything. A sample that is older than MAX_AGE says nothing, so a replica that hangs is left by itself.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass, replace

import psycopg
import structlog
from django.conf import settings

from tenants.db.base import NETWORK_OPTIONS
from tenants.db.pools import Endpoint, all_pools, pool_of
from tenants.refs import TenantRef
from tenants.servers import ServerRef, server_of

log = structlog.get_logger(__name__)

# Seconds.
MAX_AGE = 2.0
SAMPLE_TIMEOUT = 1.0
RETRY_INTERVAL = 1.0
# Bytes that a replica may be behind for a reader that asks for nothing in particular.
MAX_LAG = 16 * 1024 * 1024

# `received_tli` is the timeline of the stream; a replica without a stream has stopped following and is not used.
SAMPLE_SQL = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()),
           received_tli,
           pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint,
           greatest(0, pg_wal_lsn_diff(latest_end_lsn, pg_last_wal_replay_lsn()))::bigint
    FROM pg_stat_wal_receiver
    WHERE pg_is_in_recovery() AND status = 'streaming'
"""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a cluster's write-ahead log: comparable within one cluster and timeline alone. `lsn` in bytes."""

    cluster: str
    timeline: int
    lsn: int

    def covers(self, other: Position) -> bool:
        """Whether who is here has seen what was written up to `other`. Another timeline counts as unknown."""
        return self.cluster == other.cluster and self.timeline == other.timeline and self.lsn >= other.lsn


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """The last sample of a replica; `sampled_at` is monotonic, `lag_bytes` None while it doesn't stream."""

    server: str
    replica: str
    endpoint: Endpoint
    position: Position | None = None
    lag_bytes: int | None = None
    sampled_at: float = 0.0
    error: str = ""

    @property
    def healthy(self) -> bool:
        return self.position is not None and time.monotonic() - self.sampled_at <= MAX_AGE


_states: dict[tuple[str, int], ReplicaState] = {}  # by the endpoint's host and port
_watched: dict[str, ServerRef] = {}
_thread: threading.Thread | None = None
_lock = threading.Lock()


def choose(ref: TenantRef, after: Position | None) -> int | None:
    """The number of a replica that has replayed `after`, the least busy one; None when only the primary will do."""
    server = server_of(ref.server)
    if not server.replicas:
        return None
    watch(server)
    best: tuple[int, int] | None = None
    for number, endpoint in enumerate(server.replicas):
        state = _states.get(endpoint.key)
        if state is None or not state.healthy or state.position is None:
            continue
        fresh = state.position.covers(after) if after is not None else (state.lag_bytes or 0) <= MAX_LAG
        if fresh:
            running = pool_of(endpoint).running
            if best is None or running < best[0]:
                best = running, number
    return None if best is None else best[1]


def status() -> list[ReplicaState]:
    """The last sample of each replica that this process watches."""
    return list(_states.values())


def mark_failed(endpoint: Endpoint) -> None:
    """Use the replica no more until it is sampled again: a borrower has just failed to reach it."""
    state = _states.get(endpoint.key)
    if state is not None:
        _states[endpoint.key] = replace(state, position=None, lag_bytes=None, error="unreachable")


def watch(server: ServerRef) -> None:
    """Sample the server's replicas from now on; the thread starts with the first server."""
    global _thread
    if _watched.get(server.name) is server and _thread is not None:
        return
    with _lock:
        _watched[server.name] = server
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=lambda: asyncio.run(_monitor()), name="replica-monitor", daemon=True)
            _thread.start()


async def _monitor() -> None:
    tasks: dict[tuple[str, int], tuple[str, asyncio.Task[None]]] = {}
    while True:
        wanted: dict[tuple[str, int], tuple[str, Endpoint, str]] = {}
        for server in list(_watched.values()):
            for endpoint, url in zip(server.replicas, server.replica_urls, strict=True):
                wanted[endpoint.key] = (server.name, endpoint, url)
        for key in [key for key in tasks if key not in wanted or tasks[key][0] != wanted[key][2]]:
            tasks.pop(key)[1].cancel()
            _states.pop(key, None)
        for key, (server_name, endpoint, url) in wanted.items():
            if key not in tasks:
                _states[key] = ReplicaState(server_name, endpoint.name, endpoint)
                tasks[key] = url, asyncio.create_task(_follow(endpoint, url))
        for pool in all_pools():
            try:
                await asyncio.to_thread(pool.shrink)
            except RuntimeError:  # the interpreter is ending, and takes no new work
                return
        await asyncio.sleep(1.0)


async def _follow(endpoint: Endpoint, url: str) -> None:
    """Sample one replica until it is cancelled, over a connection of its own that no borrower can hold up."""
    while True:
        try:
            async with asyncio.timeout(3.0):
                connection = await psycopg.AsyncConnection.connect(
                    url.partition("?")[0],
                    autocommit=True,
                    **{
                        **NETWORK_OPTIONS,
                        **dict(endpoint.options),
                        "application_name": f"tenantry-{settings.TENANTRY_PROCESS} monitor",
                    },  # type: ignore[arg-type]
                )
        except (psycopg.Error, OSError, TimeoutError) as error:
            _note_failure(endpoint, error)
            await asyncio.sleep(RETRY_INTERVAL)
            continue
        try:
            while True:
                sampled_at = time.monotonic()  # before the question: what is known can only be older than the answer
                async with asyncio.timeout(SAMPLE_TIMEOUT):
                    row = await (await connection.execute(SAMPLE_SQL)).fetchone()
                state = _states[endpoint.key]
                if row is None or row[2] is None:
                    _states[endpoint.key] = replace(state, position=None, lag_bytes=None, error="not streaming")
                else:
                    position = Position(cluster=row[0], timeline=row[1], lsn=row[2])
                    _states[endpoint.key] = replace(
                        state, position=position, lag_bytes=row[3], sampled_at=sampled_at, error=""
                    )
                await asyncio.sleep(settings.REPLICA_SAMPLE_INTERVAL)
        except (psycopg.Error, OSError, TimeoutError) as error:
            _note_failure(endpoint, error)
            # Not close(): it would wait for a server that may hang. Dropping the socket is enough.
            connection.pgconn.finish()
            await asyncio.sleep(RETRY_INTERVAL)


def _note_failure(endpoint: Endpoint, error: BaseException) -> None:
    state = _states.get(endpoint.key)
    if state is not None:
        if not state.error:
            log.warning("replica_lost", replica=endpoint.name, error=type(error).__name__)
        _states[endpoint.key] = replace(state, position=None, lag_bytes=None, error=type(error).__name__)


def _start_empty_after_fork() -> None:
    global _thread, _lock
    _thread, _lock = None, threading.Lock()
    _states.clear()
    _watched.clear()


os.register_at_fork(after_in_child=_start_empty_after_fork)
