"""From an alias to the connection that it stands for: the async twin of tenants.db.routes.

What may wait for a server or the registry, and isn't a query of a loop's own, is done in a thread.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from tenants import context
from tenants.db import monitor, replicas, roles
from tenants.db.aio.connection import Connection, Cursor
from tenants.db.aio.pool import AsyncServerPool
from tenants.db.aio.pools import pool_of
from tenants.db.base import PROOF
from tenants.db.pools import Endpoint
from tenants.db.routes import PAUSES, Patience, is_refused
from tenants.db.tenant import connect_kwargs, password_renewal
from tenants.errors import CrossTenant, NotPrimary, WrongDatabase
from tenants.refs import TenantRef, owner_of
from tenants.servers import ServerRef, primary_endpoint, server_of

log = structlog.get_logger(__name__)

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
    def is_replica(self) -> bool:
        return self.alias != self.ref.alias

    @property
    def pool(self) -> AsyncServerPool:
        return pool_of(self.endpoint)

    async def connect(self) -> Connection:
        """Open a connection that is in the right database and, unless it is a replica's, of a primary.

        Raises WrongDatabase, NotPrimary, and EndpointDown at once where the node is known not to answer.
        """
        connection = await self._connect_patiently()
        if self.is_replica:
            return connection
        if connection.is_standby:
            await leave_primary(connection, self.endpoint)
            raise NotPrimary(endpoint=self.endpoint.name)
        connection.primary = self.endpoint
        return connection

    async def _connect_patiently(self) -> Connection:
        # A read that can go elsewhere doesn't wait for long.
        patience = Patience(self.endpoint, pauses=() if self.is_replica else PAUSES)
        parameters = self._parameters()
        while True:
            patience.begin()
            try:
                connection = await self._connect(parameters)
            except psycopg.OperationalError as error:
                password = None
                if is_refused(error) and not self.is_replica:
                    password = await asyncio.to_thread(password_renewal(self.ref))
                pause = patience.pause_after(error, renewed=password is not None)
                if pause is None:
                    raise
                if password is not None:
                    parameters["password"] = password
            else:
                patience.succeeded()
                return connection
            await asyncio.sleep(pause)

    async def _connect(self, parameters: dict[str, Any]) -> Connection:
        connection = await Connection.connect(autocommit=True, **parameters)
        try:
            row = await (await connection.execute(PROOF)).fetchone()
            assert row is not None
            connection.server_limit = row[1]
            if row[0] != self.ref.database:
                raise WrongDatabase(wanted=self.ref.database, found=row[0])
        except BaseException:
            await connection.close()
            raise
        return connection

    def _parameters(self) -> dict[str, Any]:
        """Those of a connection of Django's, adapters and time limits included, with a cursor that is async."""
        parameters = {**connect_kwargs(self.ref, self.endpoint), "cursor_factory": Cursor, "prepare_threshold": None}
        return parameters | ({"connect_timeout": "2"} if self.is_replica else {})


async def borrow(alias: str) -> tuple[AsyncServerPool, Connection]:
    """A connection for an alias of the active tenant, and the pool to return it to: the primary of now, or a replica.

    A replica that can't be reached is left, and the primary serves. Raises NotPrimary when the known primary isn't one, besides
    what `route_to` and the pool raise.
    """
    route = await route_to(alias)
    if route.is_replica:
        try:
            return route.pool, await route.pool.getconn(route)
        except psycopg.OperationalError as error:
            log.warning("replica_unavailable", replica=route.endpoint.name, error=type(error).__name__)
            await asyncio.to_thread(replicas.mark_failed, route.endpoint)
        route = await route_to(owner_of(alias))
    for last in (False, True):
        if roles.is_fenced(route.endpoint):
            break
        former, pool = route.endpoint, route.pool
        try:
            connection = await pool.getconn(route)
        except NotPrimary:
            route = await route_to(route.alias)
            if last or route.endpoint.key == former.key:
                raise
            continue
        if not roles.is_fenced(former):
            return pool, connection
        # It was fenced while this one was on its way: the pool's other connections have been cut.
        await connection.close()
        pool.putconn(connection)
        route = await route_to(route.alias)
    monitor.wake()
    raise NotPrimary(endpoint=route.endpoint.name)


async def leave_primary(connection: Connection, endpoint: Endpoint) -> None:
    """Close a connection to a node that doesn't take writes (any more), and have the nodes asked for their roles."""
    is_standby = connection.is_standby
    await connection.close()
    if is_standby:
        await asyncio.to_thread(roles.demoted, endpoint)  # which cuts connections, and waits for their end
    monitor.wake()


async def route_to(alias: str) -> TenantRoute:
    """The route of an alias of the active tenant: its primary of now, or a replica (`<alias>@<number>`).

    Raises NoTenant, and CrossTenant for the alias of another tenant or epoch.
    """
    ref = context.current_tenant()
    if owner_of(alias) != ref.alias:
        raise CrossTenant(what=f"The database alias {alias!r}", belongs_to="another tenant or epoch", used_in=str(ref))
    server = await server_known(ref.server)
    _, _, number = alias.partition("@")
    endpoint = server.replicas[int(number)] if number else roles.primary_of(server.name, server.primary)
    return TenantRoute(ref, alias, endpoint)


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
        primary_endpoint(name)  # the first one in a process waits for the nodes' answers
        return server_of(name)
