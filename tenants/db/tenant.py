"""The wrapper for a tenant's database, on its primary or on a replica."""

from __future__ import annotations

from typing import Any

from django.db import connections

from tenants.db.base import DatabaseWrapper, RoutePool, settings_for
from tenants.db.pools import Endpoint
from tenants.db.routes import PrimaryRoutePool, Renew, ReplicaRoutePool
from tenants.refs import CONTROL, TenantRef, owner_of
from tenants.servers import server_of


class PrimaryWrapper(DatabaseWrapper):
    """A wrapper whose connection is to the tenant's primary, wherever that is when it connects."""

    renew: Renew

    def copy(self, alias: str | None = None) -> Any:
        other = super().copy(alias)
        other.renew = self.renew
        return other

    def _make_route_pool(self, endpoint: Endpoint) -> RoutePool:
        return PrimaryRoutePool(
            endpoint, alias=self.alias, connect_kwargs=self._connect_kwargs, server=self._server, renew=self.renew
        )


class ReplicaWrapper(DatabaseWrapper):
    """A wrapper whose connection is to a replica, or to the primary when the replica can't be reached."""

    @property
    def primary(self) -> DatabaseWrapper:
        """This thread's wrapper of the same tenant's primary."""
        wrapper = connections[owner_of(self.alias)]
        assert isinstance(wrapper, DatabaseWrapper)
        return wrapper

    def _make_route_pool(self, endpoint: Endpoint) -> RoutePool:
        return ReplicaRoutePool(
            endpoint, alias=self.alias, connect_kwargs=self._connect_kwargs, primary=lambda: self.primary.pool
        )


def tenant_wrapper(ref: TenantRef, alias: str) -> DatabaseWrapper:
    """A wrapper for `alias`, which is the tenant's own or one of its replicas' (`<alias>@<number>`)."""
    server = server_of(ref.server)
    _, _, number = alias.partition("@")
    endpoint = server.replicas[int(number)] if number else server.primary
    wrapper: PrimaryWrapper | ReplicaWrapper
    if number:
        wrapper = ReplicaWrapper(_settings(ref, endpoint), alias, endpoint, ref.server)
    else:
        wrapper = PrimaryWrapper(_settings(ref, endpoint), alias, endpoint, ref.server)
        wrapper.renew = password_renewal(ref)
    wrapper.plan = ref.plan
    return wrapper


def connect_kwargs(ref: TenantRef, endpoint: Endpoint) -> dict[str, Any]:
    """What psycopg connects to the tenant's database at an endpoint with, for connections that no wrapper has."""
    wrapper = DatabaseWrapper(_settings(ref, endpoint), ref.alias, endpoint, ref.server)
    wrapper.plan = ref.plan
    return wrapper._connect_kwargs()


def _settings(ref: TenantRef, endpoint: Endpoint) -> dict[str, Any]:
    return settings_for(
        name=ref.database, user=ref.role, password=ref.password, endpoint=endpoint, application=ref.slug
    )


def password_renewal(ref: TenantRef) -> Renew:
    """Tells, when the tenant's password is refused, what the registry has by now; None for a tenant that is no more.

    It may still be the same: a rotation gives the registry the new one an instant before the server has it.
    """

    def renew() -> str | None:
        from tenants.db.handler import release_unless_active
        from tenants.models import Tenant

        try:
            tenant = Tenant.objects.using(CONTROL.alias).filter(pk=ref.id).first()
        finally:
            release_unless_active(CONTROL.alias)
        return None if tenant is None else tenant.ref().password

    return renew
