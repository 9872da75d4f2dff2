"""The async pools of this process, one for each endpoint and event loop; `stream` has one loop."""

from __future__ import annotations

import asyncio
import os
import time
from weakref import WeakKeyDictionary

from tenants.db import keeper, pools, shares
from tenants.db.aio.pool import AsyncServerPool
from tenants.db.books import PoolLimits
from tenants.db.pools import Endpoint

# Waiting costs a future here and not a thread, so a line may be as long as what it waits for can be served within
# the time-out of 5 s, at a quarter of a second a query; one tenant gets half of it.
WAITING_FOR_EACH_CONNECTION = 20
MAINTENANCE_SECONDS = 1.0

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], AsyncServerPool]] = WeakKeyDictionary()
# What a parent process had open. Kept so that nothing in a child ends connections that the parent uses.
_inherited: list[object] = []


def pool_of(endpoint: Endpoint) -> AsyncServerPool:
    """The running loop's pool of an endpoint, made when it is first asked for."""
    mine = _pools.setdefault(asyncio.get_running_loop(), {})
    pool = mine.get(endpoint.key)
    if pool is None:
        pool = AsyncServerPool(f"{endpoint.name} async", limits_of(endpoint), is_former=pools.is_former)
        keeper.keep(pool, endpoint.host, endpoint.port)
        mine[endpoint.key] = pool
    return pool


def limits_of(endpoint: Endpoint) -> PoolLimits:
    """The numbers of an endpoint's async pool: the native routes' share of its budget.

    No tenant runs all of it, so that one connection at least is always there for the others.
    """
    whole = pools.numbers_of(endpoint)
    size = shares.share_of_native(int(whole["max"]))
    waiting = size * WAITING_FOR_EACH_CONNECTION
    return PoolLimits(
        max_size=size,
        max_per_tenant=max(1, min(int(whole["max_per_tenant"]), size - 1)),
        max_waiting=waiting,
        max_waiting_per_tenant=waiting // 2,
        timeout=whole["timeout"],
        tenant_timeout=whole["timeout"],  # who waits here keeps no thread from others
        max_idle=whole["max_idle"],
        max_lifetime=whole["max_lifetime"],
    )


def all_pools(endpoint: Endpoint | None = None) -> list[AsyncServerPool]:
    """The async pools that this process has, or those to one endpoint. Safe from any thread."""
    return [
        pool
        for loop, mine in list(_pools.items())
        if not loop.is_closed()
        for key, pool in list(mine.items())
        if endpoint is None or key == endpoint.key
    ]


async def maintain() -> None:
    """Close what was idle for too long, until it is cancelled. One task for a loop."""
    while True:
        for pool in list(_pools.get(asyncio.get_running_loop(), {}).values()):
            pool.shrink()
        await asyncio.sleep(MAINTENANCE_SECONDS)


async def close_all(timeout: float = 10.0) -> None:
    """Drain the running loop's pools, within `timeout` seconds in all. For the end of a process: they stay closed."""
    deadline = time.monotonic() + timeout
    for pool in _pools.get(asyncio.get_running_loop(), {}).values():
        await pool.close(max(0.0, deadline - time.monotonic()))


def _start_empty_after_fork() -> None:
    """A child must not touch its parent's connections: it would end or garble them."""
    _inherited.append(dict(_pools))
    _pools.clear()


os.register_at_fork(after_in_child=_start_empty_after_fork)
pools.also(all_pools)
