"""Async pools and routes to real databases, for tests that run a loop of their own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any

import psycopg
import pytest

from tenants.context import use_tenant
from tenants.db import aio
from tenants.db.aio.connection import Connection
from tenants.db.aio.pool import AsyncServerPool
from tenants.db.books import PoolLimits
from tenants.refs import TenantRef
from tests.tenants.conftest import primary_url


@dataclass(frozen=True)
class AsyncDatabaseRoute:
    """A route to one database; `delay` seconds pass before it is opened."""

    database: str
    application_name: str = "async-pool-test"
    delay: float = 0.0

    @property
    def alias(self) -> str:
        return self.database

    @property
    def owner(self) -> str:
        return self.database

    async def connect(self) -> Connection:
        await asyncio.sleep(self.delay)
        return await Connection.connect(
            primary_url(), dbname=self.database, application_name=self.application_name, autocommit=True
        )


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test. Its first argument makes pools, which are closed at its end, when nothing may be left lent."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        async def inner() -> None:
            pools: list[AsyncServerPool] = []

            def make(**limits: Any) -> AsyncServerPool:
                pools.append(AsyncServerPool("test", PoolLimits(**limits)))
                return pools[-1]

            try:
                await asyncio.wait_for(test(make, **fixtures), 60)
            finally:
                for pool in pools:
                    for connection in [each for each, loan in pool._loans.items() if loan.is_lent]:
                        pool.putconn(connection)
                    await pool.close(5.0)
                    assert pool.get_stats()["pool_size"] == 0

        asyncio.run(inner())

    signature = inspect.signature(test)
    fixtures = list(signature.parameters.values())[1:]
    run.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]  # where pytest looks
    return run


RunIn = Callable[[TenantRef, Callable[[], Awaitable[Any]]], Any]


@pytest.fixture
def run_in(settings: Any, django_db_setup: None, django_db_blocker: Any) -> RunIn:
    """Run a coroutine inside a tenant as `stream` would. To be imported."""
    settings.TENANTRY_PROCESS = "stream"

    def run(ref: TenantRef, work: Callable[[], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            try:
                with use_tenant(ref):
                    return await work()
            finally:
                await aio.close_all(5.0)

        with django_db_blocker.unblock():
            return asyncio.run(asyncio.wait_for(whole(), 90))

    return run


def pid(connection: psycopg.AsyncConnection[Any]) -> int:
    """The process id of a connection's backend."""
    return connection.info.backend_pid


async def settled(pool: AsyncServerPool) -> None:
    """Wait until the pool's own tasks are done."""
    while pool._tasks:
        await asyncio.sleep(0.005)
