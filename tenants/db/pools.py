"""The pools of this process, one for each endpoint; control's and the tenants' alike."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings

from tenants.db.pool import PoolLimits, ServerPool
from tenants.db.shares import share_of_django


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A primary or a replica: where it listens, libpq's options for it, and its pool's numbers where they differ."""

    name: str
    host: str
    port: int
    options: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    numbers: tuple[tuple[str, float], ...] = field(default=(), compare=False)

    @property
    def key(self) -> tuple[str, int]:
        return self.host, self.port


_pools: dict[tuple[str, int], ServerPool] = {}
_lock = threading.Lock()
_on_forget: list[Callable[[str], None]] = []
# What a parent process had open. Kept so that nothing in a child ends connections that the parent uses.
_inherited: list[object] = []


def pool_of(endpoint: Endpoint) -> ServerPool:
    """The pool of an endpoint, made when it is first asked for. Endpoints on the same host and port share one budget."""
    pool = _pools.get(endpoint.key)
    if pool is None:
        with _lock:
            pool = _pools.get(endpoint.key)  # again: another thread may have made it while this one waited
            if pool is None:
                pool = _pools[endpoint.key] = ServerPool(endpoint.name, limits_of(endpoint))
    return pool


def numbers_of(endpoint: Endpoint) -> dict[str, float]:
    """The numbers of settings.POOL, with those of the endpoint's URL over them."""
    return {**settings.POOL, **dict(endpoint.numbers)}


def limits_of(endpoint: Endpoint) -> PoolLimits:
    """The limits of an endpoint's pool: those numbers, and in `stream` Django's share of `max`."""
    numbers = numbers_of(endpoint)
    max_size = share_of_django(int(numbers["max"]))
    return PoolLimits(
        max_size=max_size,
        max_per_tenant=min(int(numbers["max_per_tenant"]), max_size),
        max_waiting=int(numbers["max_waiting"]),
        max_waiting_per_tenant=int(numbers["max_waiting_per_tenant"]),
        timeout=numbers["timeout"],
        tenant_timeout=numbers["tenant_timeout"],
        max_idle=numbers["max_idle"],
        max_lifetime=numbers["max_lifetime"],
    )


def all_pools() -> list[ServerPool]:
    """The pools that this process has made so far."""
    return list(_pools.values())


def forget_tenant(alias: str) -> None:
    """Close the idle connections of a tenant's former route, by its primary's alias, in every pool."""
    for pool in all_pools():
        pool.drop_idle(alias)
    for forget in _on_forget:
        forget(alias)


def on_forget_tenant(forget: Callable[[str], None]) -> None:
    """Have `forget` called, too, when a tenant's former route is forgotten: by pools of another kind (tenants.db.aio)."""
    _on_forget.append(forget)


def close_all(timeout: float = 10.0) -> None:
    """Drain every pool, within `timeout` seconds in all. For the end of a process: the pools stay closed."""
    deadline = time.monotonic() + timeout
    for pool in all_pools():
        pool.close(max(0.0, deadline - time.monotonic()))


def _start_empty_after_fork() -> None:
    """A child must not touch its parent's connections: it would end or garble them."""
    global _lock
    _inherited.append(dict(_pools))
    _pools.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_start_empty_after_fork)
atexit.register(close_all, 2.0)
