"""The wrapper for a tenant's database, on its primary or on a replica."""

from __future__ import annotations

import psycopg
import structlog

from tenants.db.base import DatabaseWrapper, RoutePool, settings_for
from tenants.db.pool import Connection
from tenants.refs import TenantRef
from tenants.servers import server_of

log = structlog.get_logger(__name__)


class ReplicaRoutePool(RoutePool):
    """A replica's pool, with the primary behind it: when the replica can't be reached, the primary serves."""

    primary: RoutePool

    def getconn(self, timeout: float | None = None) -> Connection:
        try:
            return super().getconn(timeout)
        except psycopg.OperationalError as error:
            log.warning("replica_unavailable", replica=self.endpoint.name, error=type(error).__name__)
            from tenants.db import replicas

            replicas.mark_failed(self.endpoint)
            return self.primary.getconn(timeout)


class ReplicaWrapper(DatabaseWrapper):
    """A wrapper whose connection is to a replica, or to the primary when the replica can't be reached."""

    primary: DatabaseWrapper

    @property
    def pool(self) -> RoutePool:
        if self._route_pool is None:
            assert self._endpoint is not None
            parameters = super().pool._connect_kwargs
            route_pool = ReplicaRoutePool(self._endpoint, alias=self.alias, connect_kwargs=parameters)
            route_pool.primary = self.primary.pool
            self._route_pool = route_pool
        return self._route_pool


def tenant_wrapper(ref: TenantRef, alias: str) -> DatabaseWrapper:
    """A wrapper for `alias`, which is the tenant's own or one of its replicas' (`<alias>@<number>`)."""
    server = server_of(ref.server)
    _, _, number = alias.partition("@")
    credentials = {"name": ref.database, "user": ref.role, "password": ref.password, "application": ref.slug}
    primary = DatabaseWrapper(settings_for(endpoint=server.primary, **credentials), ref.alias, server.primary)
    if not number:
        return primary
    endpoint = server.replicas[int(number)]
    replica = ReplicaWrapper(settings_for(endpoint=endpoint, **credentials), alias, endpoint)
    replica.primary = primary
    return replica
