"""The pools of this process, one for each endpoint; control's and the tenants' alike."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from django.conf import settings

from tenants.db import keeper
from tenants.db.books import PoolLimits
from tenants.db.pool import ServerPool
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


class AnyPool(Protocol):
    """What a pool of either kind is asked and told, from any thread."""

    name: str

    def get_stats(self) -> dict[str, int]: ...
    def owners(self) -> set[str]: ...
    def retire(self, is_former: Callable[[str], bool]) -> object: ...
    def cut(self) -> int: ...


_pools: dict[tuple[str, int], ServerPool] = {}
# Tells of the pools of another kind (tenants.db.aio): those of one endpoint, or all.
_others: list[Callable[[Endpoint | None], Sequence[AnyPool]]] = []
_lock = threading.Lock()
# The epoch that a tenant's route is known to have reached, for the tenants whose routes changed last.
_epochs: dict[str, int] = {}
MAX_EPOCHS = 20_000
# What a parent process had open. Kept so that nothing in a child ends connections that the parent uses.
_inherited: list[object] = []


def pool_of(endpoint: Endpoint) -> ServerPool:
    """The pool of an endpoint, made when it is first asked for. Endpoints on the same host and port share one budget."""
    pool = _pools.get(endpoint.key)
    if pool is None:
        with _lock:
            pool = _pools.get(endpoint.key)  # again: another thread may have made it while this one waited
            if pool is None:
                pool = ServerPool(endpoint.name, limits_of(endpoint), is_former=is_former)
                keeper.keep(pool, endpoint.host, endpoint.port)
                _pools[endpoint.key] = pool
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


def also(others: Callable[[Endpoint | None], Sequence[AnyPool]]) -> None:
    """Have pools of another kind take part in what befalls all: `others` tells those of one endpoint or, without one, all."""
    _others.append(others)


def of_every_kind(endpoint: Endpoint | None = None) -> list[AnyPool]:
    """All pools of this process or of one endpoint, Django's and the async ones."""
    mine = [pool for key, pool in list(_pools.items()) if endpoint is None or key == endpoint.key]
    return [*mine, *(pool for others in _others for pool in others(endpoint))]


def forget_tenant(alias: str) -> None:
    """Close a tenant's connections, by its primary's alias, in every pool: idle ones now, lent ones when they come back."""
    for pool in of_every_kind():
        pool.retire(lambda owner: owner == alias)


def forget_former(tenant_id: str, epoch: int) -> None:
    """Keep no connection of this tenant that was opened for an epoch before this one. An earlier call's higher epoch holds."""
    with _lock:
        known = _epochs.pop(tenant_id, 0)
        _epochs[tenant_id] = max(known, epoch)
        while len(_epochs) > MAX_EPOCHS:
            del _epochs[next(iter(_epochs))]
    for pool in of_every_kind():
        pool.retire(is_former)


def is_former(owner: str) -> bool:
    """Whether an owner (`t:<id>:<epoch>`) is known to be a tenant's former route."""
    _, tenant_id, epoch = owner.split(":")
    return int(epoch) < _epochs.get(tenant_id, 0)


def owners() -> set[str]:
    """The owners that have connections open in any pool."""
    return {owner for pool in of_every_kind() for owner in pool.owners()}


def cut(endpoint: Endpoint) -> int:
    """End every connection to an endpoint, lent ones too. Returns how many there were."""
    return sum(pool.cut() for pool in of_every_kind(endpoint))


def close_all(timeout: float = 10.0) -> None:
    """Drain every pool, within `timeout` seconds in all, and ask no node any more. For the end of a process: the pools stay closed."""
    from tenants.db import monitor

    monitor.stop(timeout)
    deadline = time.monotonic() + timeout
    for pool in all_pools():
        pool.close(max(0.0, deadline - time.monotonic()))
    keeper.stop(max(0.5, deadline - time.monotonic()))


def _start_empty_after_fork() -> None:
    """A child must not touch its parent's connections: it would end or garble them."""
    global _lock
    _inherited.append(dict(_pools))
    _pools.clear()
    _epochs.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_start_empty_after_fork)
atexit.register(close_all, 2.0)
