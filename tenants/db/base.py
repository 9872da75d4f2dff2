"""The database engine of control and of the tenants: Django's Postgres wrapper over this process's pools.

(Django looks an engine's DatabaseWrapper up in a module of this name.)
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.backends.postgresql import base

from tenants.db.nodes import CONTROL_SERVER
from tenants.db.options import NETWORK_OPTIONS, application_name, startup_options
from tenants.db.pool import Connection, ServerPool
from tenants.db.pools import Endpoint, pool_of
from tenants.db.retry import RetryingWrapper
from tenants.errors import WrongDatabase
from tenants.refs import CONTROL, owner_of


class RoutePool:
    """What one wrapper sees of an endpoint's pool: a pool for its own database. It is the pool's `Route` too."""

    def __init__(self, endpoint: Endpoint, *, alias: str, connect_kwargs: dict[str, Any]) -> None:
        self.endpoint = endpoint
        self.alias = alias
        self.owner = None if owner_of(alias) == CONTROL.alias else owner_of(alias)
        self._connect_kwargs = connect_kwargs

    def open(self) -> None:
        """There is nothing to open: connections are made when they are borrowed."""

    def getconn(self, timeout: float | None = None) -> Connection:
        return self._pool.getconn(self, timeout)

    @property
    def _pool(self) -> ServerPool:
        return pool_of(self.endpoint)

    def connect(self) -> Connection:
        """Open a connection and have it prove that it is in the right database. Raises WrongDatabase if it isn't."""
        connection = psycopg.connect(autocommit=True, **self._connect_kwargs)
        try:
            row = connection.execute("SELECT current_database()").fetchone()
            assert row is not None
            if row[0] != self._connect_kwargs["dbname"]:
                raise WrongDatabase(wanted=self._connect_kwargs["dbname"], found=row[0])
        except BaseException:
            connection.close()
            raise
        return connection


class DatabaseWrapper(RetryingWrapper, base.DatabaseWrapper):
    """A connection to one database, borrowed from the endpoint's pool for as long as the wrapper is open."""

    def __init__(
        self, settings_dict: dict[str, Any], alias: str, endpoint: Endpoint | None = None, server: str = CONTROL_SERVER
    ) -> None:
        super().__init__(settings_dict, alias)
        self._endpoint = endpoint
        self._server = server
        self._route_pool: RoutePool | None = None

    @property
    def pool(self) -> RoutePool:
        if self._route_pool is None:
            self._route_pool = self._make_route_pool(super().get_connection_params())
        return self._route_pool

    def _make_route_pool(self, parameters: dict[str, Any]) -> RoutePool:
        from tenants.db.routes import PrimaryRoutePool
        from tenants.servers import control_endpoint

        if self._endpoint is None:
            self._endpoint = control_endpoint()
            parameters = control_parameters(parameters)
        return PrimaryRoutePool(self._endpoint, alias=self.alias, connect_kwargs=parameters, server=self._server)

    def get_connection_params(self) -> dict[str, Any]:
        # The pool keeps the parameters: they are the same for each connection of this alias.
        return self.pool._connect_kwargs

    def close_pool(self) -> None:
        """The pool is shared by all tenants of the endpoint and ends with the process."""

    def ensure_timezone(self) -> bool:
        """Sessions start in UTC; the original closes the pool here."""
        return False

    def _configure_connection(self, connection: Any) -> bool:
        return False


def control_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """What control's connections start with: the settings' own parameters, over the network's and the process's limits."""
    options = f"{startup_options()} {parameters.get('options', '')}".strip()
    return {**NETWORK_OPTIONS, "application_name": application_name("control"), **parameters, "options": options}


def settings_for(
    *, name: str, user: str, password: str, endpoint: Endpoint, application: str, plan: str = ""
) -> dict[str, Any]:
    """Django's settings of a connection to database `name` of an endpoint, complete as ConnectionHandler would make them."""
    return {
        "ENGINE": "tenants.db",
        "NAME": name,
        "USER": user,
        "PASSWORD": password,
        "HOST": endpoint.host,
        "PORT": str(endpoint.port),
        "OPTIONS": {
            **NETWORK_OPTIONS,
            **dict(endpoint.options),
            "options": startup_options(plan),
            "application_name": application_name(application),
        },
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "TIME_ZONE": None,
        "TEST": {"CHARSET": None, "COLLATION": None, "MIGRATE": True, "MIRROR": None, "NAME": None},
    }
