"""The database engine of control and of the tenants: Django's Postgres wrapper over this process's pools.

(Django looks an engine's DatabaseWrapper up in a module of this name.)
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.db.backends.postgresql import base

from tenants.db.measured import measure
from tenants.db.pool import Connection, ServerPool
from tenants.db.pools import Endpoint, pool_of
from tenants.errors import WrongDatabase
from tenants.refs import CONTROL, owner_of

# libpq's defaults wait for minutes on a peer that is gone. Seconds, and milliseconds for the last one.
NETWORK_OPTIONS = {
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def startup_options() -> str:
    """The session's settings, sent when it starts, so that no SET is ever needed: time zone and the process kind's time limits."""
    return (
        f"-c timezone=UTC -c statement_timeout={settings.STATEMENT_TIMEOUT} -c lock_timeout={settings.LOCK_TIMEOUT}"
        f" -c idle_in_transaction_session_timeout={settings.IDLE_IN_TRANSACTION_TIMEOUT}"
    )


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


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to one database, borrowed from the endpoint's pool for as long as the wrapper is open."""

    def __init__(self, settings_dict: dict[str, Any], alias: str, endpoint: Endpoint | None = None) -> None:
        super().__init__(settings_dict, alias)
        self.execute_wrappers.append(measure)
        self._endpoint = endpoint
        self._route_pool: RoutePool | None = None

    @property
    def pool(self) -> RoutePool:
        if self._route_pool is None:
            if self._endpoint is None:
                from tenants.servers import control_endpoint

                self._endpoint = control_endpoint()
            self._route_pool = RoutePool(
                self._endpoint, alias=self.alias, connect_kwargs=super().get_connection_params()
            )
        return self._route_pool

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


def settings_for(*, name: str, user: str, password: str, endpoint: Endpoint, application: str) -> dict[str, Any]:
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
            "options": startup_options(),
            "application_name": f"tenantry-{settings.TENANTRY_PROCESS} {application}"[:63],
        },
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "TIME_ZONE": None,
        "TEST": {"CHARSET": None, "COLLATION": None, "MIGRATE": True, "MIRROR": None, "NAME": None},
    }
