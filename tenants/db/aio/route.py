"""From an alias to the connection that it stands for: the async twin of tenants.db.base.RoutePool."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from tenants import context
from tenants.db.aio.connection import Connection, Cursor
from tenants.db.aio.pool import AsyncServerPool
from tenants.db.aio.pools import pool_of
from tenants.db.pools import Endpoint
from tenants.db.tenant import connect_kwargs
from tenants.errors import CrossTenant, WrongDatabase
from tenants.refs import TenantRef, owner_of
from tenants.servers import ServerRef, server_of

# Seconds after which a server's endpoints are read again, in a thread; what is known serves meanwhile, as it does for as long as
# the registry can't be read.
REFRESH_AFTER = 1.0

_servers: dict[str, tuple[ServerRef, float]] = {}
_reading: dict[str, asyncio.Task[ServerRef]] = {}


@dataclass(frozen=True, slots=True)
class TenantRoute:
    """The way to a tenant's database at one endpoint."""

    ref: TenantRef
    alias: str
    endpoint: Endpoint

    @property
    def owner(self) -> str:
        return self.ref.alias

    @property
    def pool(self) -> AsyncServerPool:
        return pool_of(self.endpoint)

    async def connect(self) -> Connection:
        """Open a connection and have it prove that it is in the right database. Raises WrongDatabase if it isn't."""
        connection = await Connection.connect(autocommit=True, **self._parameters())
        try:
            row = await (await connection.execute("SELECT current_database()")).fetchone()
            assert row is not None
            if row[0] != self.ref.database:
                raise WrongDatabase(wanted=self.ref.database, found=row[0])
        except BaseException:
            await connection.close()
            raise
        return connection

    def _parameters(self) -> dict[str, Any]:
        """Those of a connection of Django's, adapters and time limits included, with a cursor that is async."""
        return {
            **connect_kwargs(self.ref, self.endpoint),
            "cursor_factory": Cursor,
            "prepare_threshold": None,
        }


async def route_to(alias: str) -> TenantRoute:
    """The route of an alias of the active tenant: its primary, or a replica (`<alias>@<number>`).

    Raises NoTenant, and CrossTenant for the alias of another tenant or epoch.
    """
    ref = context.current_tenant()
    if owner_of(alias) != ref.alias:
        raise CrossTenant(what=f"The database alias {alias!r}", belongs_to="another tenant or epoch", used_in=str(ref))
    server = await server_known(ref.server)
    _, _, number = alias.partition("@")
    return TenantRoute(ref, alias, server.replicas[int(number)] if number else server.primary)


async def server_known(name: str) -> ServerRef:
    """The server of that name, as it is known or, the first time, read in a thread: the loop never waits for the registry."""
    known = _servers.get(name)
    if known is not None and time.monotonic() - known[1] <= REFRESH_AFTER:
        return known[0]
    task = _reading.get(name)
    if task is None or task.get_loop() is not asyncio.get_running_loop():
        task = _reading[name] = asyncio.create_task(_read(name))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen: what is known serves on
    return known[0] if known is not None else await asyncio.shield(task)


async def _read(name: str) -> ServerRef:
    try:
        server = await asyncio.to_thread(_read_in_thread, name)
        _servers[name] = (server, time.monotonic())
        return server
    finally:
        del _reading[name]


def _read_in_thread(name: str) -> ServerRef:
    with context.use_control():
        return server_of(name)
