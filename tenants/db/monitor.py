"""One thread in a process asks the nodes of the servers that it works with what they are and how far they have come.

Each node is asked over a connection of its own, which no borrower can hold up, every settings.REPLICA_SAMPLE_INTERVAL seconds. One that
doesn't answer in time is left: its breaker opens and its connections are cut, so that whoever hangs on it gets an error, and a
read goes on elsewhere (tenants.db.retry). A primary is given longer than a replica, since a read can go elsewhere and a write can't.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import structlog
from django.conf import settings

from tenants.db import pools, roles
from tenants.db.breaker import breaker_of, is_unreachable
from tenants.db.closing import shut
from tenants.db.nodes import CONTROL_SERVER, SAMPLE_SQL, Node, NodeState, state_from

log = structlog.get_logger(__name__)

# Seconds.
CONNECT_TIMEOUT = 1.0
SAMPLE_TIMEOUT = 1.0
_STEPS = 5
# For which a primary may say nothing at all before everything that waits for it is given up.
PRIMARY_SILENCE = 5.0

_watched: dict[str, tuple[Node, ...]] = {}
_wake: dict[tuple[str, int], asyncio.Event] = {}
_loop: asyncio.AbstractEventLoop | None = None
_MAIN = ("", 0)  # the key of the event that wakes the monitor itself
_thread: threading.Thread | None = None
_task: asyncio.Task[None] | None = None
_lock = threading.Lock()


def watch(server: str, nodes: Sequence[Node]) -> None:
    """Ask the nodes of a server (the configured primary first) from now on; the thread starts with the first server.

    A server of a single node has nobody to fail over to and isn't asked: that saves its Postgres a connection for each process.
    """
    global _thread
    if _watched.get(server) == tuple(nodes) and _thread is not None:
        return
    with _lock:
        roles.configure(server, nodes)
        _watched[server] = tuple(nodes)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_run, name="monitor", daemon=True)
            _thread.start()
    wake()


def unwatch(server: str) -> None:
    """Ask the nodes of a server no more: the registry hasn't got it any longer."""
    _watched.pop(server, None)
    roles.forget_server(server)
    wake()


def wake() -> None:
    """Ask every node at once: a borrower has just seen that something changed."""
    loop = _loop
    if loop is not None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the process is about to
            loop.call_soon_threadsafe(_wake_all)


def _wake_all() -> None:
    for event in _wake.values():
        event.set()


def stop(timeout: float = 2.0) -> None:
    """End the thread and its connections: the process is ending, or the servers are."""
    loop, thread, task = _loop, _thread, _task
    if loop is None or task is None or thread is None or not thread.is_alive():
        return
    with contextlib.suppress(RuntimeError):  # it has just ended by itself
        loop.call_soon_threadsafe(task.cancel)
    thread.join(timeout)


def _run() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_monitor())


async def _monitor() -> None:
    global _loop, _task
    _loop, _task = asyncio.get_running_loop(), asyncio.current_task()
    tasks: dict[tuple[str, int], tuple[Node, asyncio.Task[None]]] = {}
    try:
        await _follow_all(tasks)
    finally:
        following = [task for _, task in tasks.values()]
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _follow_all(tasks: dict[tuple[str, int], tuple[Node, asyncio.Task[None]]]) -> None:
    """Keep a task for each node that is watched, until this one is cancelled."""
    news = _wake[_MAIN] = asyncio.Event()
    while True:
        # Of those who may ask the same node the last one counts: control, whose role may see least, comes first.
        servers = sorted(_watched.items(), key=lambda item: item[0] != CONTROL_SERVER)
        wanted = {node.endpoint.key: node for _, nodes in servers if len(nodes) > 1 for node in nodes}
        for key in [key for key, (node, _) in tasks.items() if wanted.get(key) != node]:
            tasks.pop(key)[1].cancel()
            if key not in wanted:
                roles.forget_node(key)
        for key, node in wanted.items():
            if key not in tasks:
                tasks[key] = node, asyncio.create_task(_follow(node))
        for pool in pools.all_pools():
            try:
                await asyncio.to_thread(pool.shrink)
            except RuntimeError:  # the interpreter is ending, and takes no new work
                return
        await _pause(news, 1.0)


async def _follow(node: Node) -> None:
    """Ask one node until the task is cancelled."""
    answered_at = time.monotonic()
    event = _wake.setdefault(node.endpoint.key, asyncio.Event())
    while True:
        connection = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await psycopg.AsyncConnection.connect(node.conninfo, autocommit=True)
            while True:
                asked_at = time.monotonic()
                row = await _ask(connection)
                answered_at = time.monotonic()
                breaker_of(node.endpoint).succeeded()
                _note(state_from(node.endpoint, row, former=_former(node), asked_at=asked_at))
                await _pause(event, settings.REPLICA_SAMPLE_INTERVAL)
        except (psycopg.Error, OSError, TimeoutError) as error:
            _note_failure(node, error, silent_for=time.monotonic() - answered_at)
            if connection is None:
                await _pause(event, settings.REPLICA_SAMPLE_INTERVAL)
        finally:
            if connection is not None:
                # Not close(): it would wait for a server that may hang. Dropping the socket is enough.
                connection.pgconn.finish()


async def _ask(connection: psycopg.AsyncConnection[Any]) -> tuple[Any, ...]:
    """The answer to SAMPLE_SQL. Raises TimeoutError after SAMPLE_TIMEOUT seconds, having shut the connection down.

    Not by cancelling: psycopg would then ask the server to cancel the query, and wait for five seconds for one that hangs.
    """

    async def ask() -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = await (await connection.execute(SAMPLE_SQL)).fetchone()
        assert row is not None
        return row

    asking = asyncio.create_task(ask())
    try:
        # In steps, and not by the clock: a process that was stopped meanwhile, or its machine, must not call the node silent.
        for _ in range(_STEPS):
            await asyncio.wait({asking}, timeout=SAMPLE_TIMEOUT / _STEPS)
    finally:
        in_time = asking.done()
        if not in_time:
            shut(connection)
            with contextlib.suppress(psycopg.Error, OSError):
                await asking
    if not in_time:
        raise TimeoutError
    return asking.result()


async def _pause(event: asyncio.Event, seconds: float) -> None:
    """Wait for the next turn, or until somebody calls `wake`.

    Not by `wait_for`: before Python 3.12 it loses a cancellation that comes just after the event, and `unwatch` sends both.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
    event.clear()


def _former(node: Node) -> NodeState:
    return roles.state_of(node.endpoint) or NodeState(node.endpoint)


def _note(state: NodeState) -> None:
    former = roles.state_of(state.endpoint)
    if former is not None and former.error and not state.error:
        log.info("node_answers", node=state.endpoint.name, timeline=state.timeline, in_recovery=state.in_recovery)
    roles.record(state)


def _note_failure(node: Node, error: BaseException, *, silent_for: float) -> None:
    former = _former(node)
    name = type(error).__name__
    if former.error != name:
        log.warning("node_lost", node=node.endpoint.name, error=name)
    roles.record(replace(former, position=None, lag_bytes=None, error=name))
    if not is_unreachable(error):
        return  # it answers, if not to us
    breaker = breaker_of(node.endpoint)
    hangs = isinstance(error, TimeoutError)
    if hangs and former.in_recovery is False and silent_for < PRIMARY_SILENCE:
        return
    if not hangs and not breaker.is_open:
        breaker.failed()  # a broken connection may be an accident; the next try will tell
        return
    breaker.failed(at_once=True)
    ended = pools.cut(node.endpoint)
    if ended:
        log.warning("connections_cut", node=node.endpoint.name, connections=ended)


def _start_empty_after_fork() -> None:
    global _thread, _task, _loop, _lock
    _thread, _task, _loop, _lock = None, None, None, threading.Lock()
    _watched.clear()
    _wake.clear()


os.register_at_fork(after_in_child=_start_empty_after_fork)
