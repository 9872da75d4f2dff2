"""A change of a tenant's route reaches every thread, pool and process: pushed through Valkey, and pulled where that doesn't come through.

Whoever changes a route raises the tenant's `epoch` and calls `publish` once that is committed. One thread in each process listens, has the
directory read the tenant anew, and closes the connections of its former epochs: idle ones at once, lent ones when they come back.

A message may be lost: Valkey may be away, or the publisher killed between its commit and the message. So the same thread asks the
registry every PULL_INTERVAL seconds for the epochs of those tenants that this process has connections of (at most as many as its pools
are large; none of them, no question), and what the directory remembers expires by itself. Together that is the bound of two seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import redis
import structlog
from django.conf import settings
from django.db import connections
from django.db import transaction as transactions

from tenants import clients
from tenants.db import pools
from tenants.refs import CONTROL
from tenants.valkey import redis_client

log = structlog.get_logger(__name__)

CHANNEL = "tenantry:epochs"
# The epoch of a tenant that is no more.
GONE = 2**31
# Seconds.
PULL_INTERVAL = 1.5
_LISTEN_INTERVAL = 0.5
_SOCKET_OPTIONS: dict[str, Any] = {"socket_connect_timeout": 1.0, "socket_timeout": 2.0, "health_check_interval": 5}

_PULL_SQL = "SELECT id::text, epoch FROM tenants_tenant WHERE id = ANY(%s::uuid[])"

_on_change: list[Callable[[str], None]] = []
_thread: threading.Thread | None = None
_stopped = threading.Event()
_lock = threading.Lock()
_last_pull = 0.0


def on_change(receiver: Callable[[str], None]) -> None:
    """Have `receiver` called with the id of each tenant whose row is told to have changed, from whatever thread hears of it."""
    _on_change.append(receiver)


def publish(tenant_id: str, epoch: int) -> None:
    """Tell every process that the tenant's row has changed and its route has reached `epoch`. Call it after the commit.

    This process knows it at once, whether Valkey is there or not.
    """
    _changed(tenant_id, epoch)
    try:
        redis_client().publish(CHANNEL, f"{tenant_id}:{epoch}")
    except redis.RedisError as error:
        log.warning("epoch_not_published", tenant_id=tenant_id, epoch=epoch, error=type(error).__name__)


def publish_on_commit(tenant_id: str, epoch: int) -> None:
    """`publish` once control's current transaction has committed; what this process remembers of the row is forgotten now."""
    _forget(tenant_id)
    transactions.on_commit(lambda: publish(tenant_id, epoch), using=CONTROL.alias)


def listen() -> None:
    """Start this process's listener, unless it runs. Called whenever the registry is read, so also after a fork."""
    global _thread
    if _thread is not None and _thread.is_alive():
        return
    with _lock:
        if (_thread is None or not _thread.is_alive()) and not _stopped.is_set():
            _thread = threading.Thread(target=_listen_forever, name="epochs", daemon=True)
            _thread.start()


def stop(timeout: float = 3.0) -> None:
    """End the listener: the process, or what it listens to, is ending."""
    _stopped.set()
    if _thread is not None:
        _thread.join(timeout)


def _changed(tenant_id: str, epoch: int) -> None:
    _forget(tenant_id)
    pools.forget_former(tenant_id, epoch)


def _forget(tenant_id: str) -> None:
    for receiver in _on_change:
        receiver(tenant_id)


# --- The listener ------------------------------------------------------------------------------------------------------------


def _listen_forever() -> None:
    was_away = False
    while not _stopped.is_set():
        try:
            with (
                redis.Redis.from_url(settings.REDIS_URL, **_SOCKET_OPTIONS) as client,
                client.pubsub(ignore_subscribe_messages=True) as subscription,
            ):
                subscription.subscribe(CHANNEL)
                while not _stopped.is_set():
                    message = subscription.get_message(timeout=_LISTEN_INTERVAL)
                    if was_away:
                        log.info("epochs_heard_again")
                        was_away = False
                    if message is not None:
                        _hear(message["data"])
                    _pull_when_due()
        except (redis.RedisError, OSError) as error:
            if not was_away:
                log.warning("epochs_not_heard", error=type(error).__name__, reason="the registry is asked instead")
            was_away = True
            _pull_when_due()
            _stopped.wait(_LISTEN_INTERVAL)


def _hear(data: bytes) -> None:
    with contextlib.suppress(ValueError):  # whoever can publish nonsense can do worse: it must not end the listener
        tenant_id, epoch = data.decode().split(":")
        _changed(tenant_id, int(epoch))


def _pull_when_due() -> None:
    global _last_pull
    if time.monotonic() - _last_pull < PULL_INTERVAL:
        return
    _last_pull = time.monotonic()
    try:
        pull()
    except (psycopg.Error, OSError) as error:  # control is away: nothing is known to have changed
        log.warning("epochs_not_pulled", error=type(error).__name__)


def pull() -> None:
    """Ask the registry for the epochs of the tenants whose connections are open here, and close those of former ones."""
    owned: dict[str, int] = {}  # each tenant's oldest epoch that is open here
    for owner in pools.owners():
        _, tenant_id, epoch = owner.split(":")
        owned[tenant_id] = min(int(epoch), owned.get(tenant_id, GONE))
    if not owned:
        return
    control: Any = connections[CONTROL.alias]
    connection = control.pool.getconn()
    try:
        current = dict(connection.execute(_PULL_SQL, [list(owned)]).fetchall())
    finally:
        connection._pool.putconn(connection)  # the pool that lent it
    for tenant_id, oldest in owned.items():
        now = current.get(tenant_id, GONE)
        if now > oldest:
            _changed(tenant_id, now)


clients.at_end("epochs", stop)


def _start_empty_after_fork() -> None:
    global _thread, _lock, _stopped
    _thread, _lock, _stopped = None, threading.Lock(), threading.Event()


os.register_at_fork(after_in_child=_start_empty_after_fork)
