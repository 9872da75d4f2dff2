"""Hints to the workers: sent off the caller's thread, never blocking it and never failing it.

A hint says that there is work; the work itself is a row in Postgres, and a sweeper finds it when the hint is lost. So hints wait in a
bounded queue for one sender thread, are merged while they wait, and are dropped when the broker is away.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pybreaker
import structlog
from celery import current_app
from django.db import connection, transaction

from tenants import context, reads
from tenants.refs import CONTROL

log = structlog.get_logger(__name__)

MAX_WAITING = 10_000
# Seconds that hints wait for others of their kind: to send one costs as much as a good part of a request, and a tenant that is busy
# would have one sent for each of its writes.
GATHERING = 0.05


@dataclass(frozen=True, slots=True)
class _Hint:
    task: str
    tenant: str
    kwargs: tuple[tuple[str, Any], ...]
    expires: float | None
    headers: Mapping[str, str] = field(compare=False)


_queue: queue.Queue[_Hint] = queue.Queue(MAX_WAITING)
_waiting: set[_Hint] = set()
_sender: threading.Thread | None = None
_lock = threading.Lock()
_breaker = pybreaker.CircuitBreaker(fail_max=3, reset_timeout=5)


def send(task: str, **kwargs: Any) -> None:
    """Hint at a task for the active tenant, once the current transaction has committed (at once when there is none).

    The values of `kwargs` must be hashable and JSON. Raises NoTenant when nobody is active.
    """
    _send_after_commit(task, context.current().id, kwargs, None)


def send_to_control(task: str, *, expires: float | None = None, **kwargs: Any) -> None:
    """The same for a task that runs in control, whoever is active: those of all tenants are merged.

    After `expires` seconds no worker needs it any more: for what a sweep says anew, so that nobody works through those of an outage.
    """
    _send_after_commit(task, CONTROL.id, kwargs, expires)


def _send_after_commit(task: str, tenant_id: str, kwargs: Mapping[str, Any], expires: float | None) -> None:
    request_id = structlog.contextvars.get_contextvars().get("request_id")

    def enqueue() -> None:
        headers = {"tenant": tenant_id}
        if request_id:
            headers["request_id"] = request_id
        _enqueue(_Hint(task, tenant_id, tuple(sorted(kwargs.items())), expires, headers))

    if connection.in_atomic_block:
        transaction.on_commit(enqueue)
    else:
        enqueue()


def headers_of_caller() -> dict[str, str]:
    """What a task's message carries of whoever sends it: the tenant, the request id, and how far a replica must be."""
    headers = {"tenant": context.current().id}
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        headers["request_id"] = request_id
    token = None if connection.in_atomic_block else reads.read_after()
    if token:
        headers["read_after"] = token
    return headers


def _enqueue(hint: _Hint) -> None:
    global _sender
    with _lock:
        if hint in _waiting:
            return
        try:
            _queue.put_nowait(hint)
        except queue.Full:
            log.warning("hint_dropped", task=hint.task, waiting=MAX_WAITING)
            return
        _waiting.add(hint)
        if _sender is None or not _sender.is_alive():
            _sender = threading.Thread(target=_send_forever, name="hints", daemon=True)
            _sender.start()


def _send_forever() -> None:
    while True:
        hints = [_queue.get()]
        time.sleep(GATHERING)
        with _lock:
            while not _queue.empty():
                hints.append(_queue.get_nowait())
            _waiting.difference_update(hints)  # before sending: what is hinted from now on may be about something newer
        for hint in hints:
            _send(hint)


def _send(hint: _Hint) -> None:
    try:
        _breaker.call(
            current_app.send_task,
            hint.task,
            kwargs=dict(hint.kwargs),
            headers=dict(hint.headers),
            expires=hint.expires,
            retry=False,
        )
    except pybreaker.CircuitBreakerError:
        log.debug("hint_dropped", task=hint.task, reason="broker away")
    except Exception as error:  # whatever the broker's client raises: a hint must not end the sender
        log.warning("hint_failed", task=hint.task, error=type(error).__name__)


def _start_empty_after_fork() -> None:
    global _queue, _sender, _lock
    _queue, _sender, _lock = queue.Queue(MAX_WAITING), None, threading.Lock()
    _waiting.clear()


os.register_at_fork(after_in_child=_start_empty_after_fork)
