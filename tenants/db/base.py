"""The database engine of control and of the tenants: Django's Postgres wrapper over this process's pools.

(Django looks an engine's DatabaseWrapper up in a module of this name.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.backends.postgresql import base, compiler, operations
from django.utils.functional import cached_property

from tenants import context
from tenants.db.connection import Connection, WatchedCursor
from tenants.db.measured import measure
from tenants.db.nodes import CONTROL_SERVER
from tenants.db.options import NETWORK_OPTIONS, application_name, startup_options
from tenants.db.pools import Endpoint, pool_of
from tenants.db.retry import RetryingWrapper
from tenants.errors import CrossTenant, NoTenant, WrongDatabase
from tenants.refs import CONTROL, owner_of

# Asked of each new connection: which database it is in, and how many connections the server gives to ordinary roles.
PROOF = """
    SELECT current_database(), current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int - current_setting('reserved_connections')::int
"""


class Cursor(WatchedCursor, base.Cursor):
    """Django's cursor, which tells the connection what leaves nothing in the session."""


class DatabaseOperations(operations.DatabaseOperations):
    """Django's, which looks its compilers' module up once for each wrapper; ours live for a request."""

    def compiler(self, compiler_name: str) -> Any:
        return getattr(compiler, compiler_name)


# psycopg's parameters, or what makes them: they are needed only where a connection is opened.
ConnectKwargs = dict[str, Any] | Callable[[], dict[str, Any]]


class RoutePool:
    """What one wrapper sees of an endpoint's pool: a pool for its own database. It is the pool's `Route` too."""

    def __init__(self, endpoint: Endpoint, *, alias: str, connect_kwargs: ConnectKwargs) -> None:
        self.endpoint = endpoint
        self.alias = alias
        owner = owner_of(alias)
        self.owner = None if owner == CONTROL.alias else owner
        self._given_kwargs = connect_kwargs

    def open(self) -> None:
        """There is nothing to open: connections are made when they are borrowed."""

    def getconn(self, timeout: float | None = None) -> Connection:
        return pool_of(self.endpoint).getconn(self, timeout)

    @property
    def _connect_kwargs(self) -> dict[str, Any]:
        return self._given_kwargs() if callable(self._given_kwargs) else self._given_kwargs

    def connect(self) -> Connection:
        """Open a connection and have it prove that it is in the right database. Raises WrongDatabase if it isn't."""
        kwargs = self._connect_kwargs
        connection = Connection.connect(autocommit=True, **kwargs)
        try:
            row = connection.execute(PROOF).fetchone()
            assert row is not None
            connection.server_limit = row[1]
            if row[0] != kwargs["dbname"]:
                raise WrongDatabase(wanted=kwargs["dbname"], found=row[0])
        except BaseException:
            connection.close()
            raise
        return connection


class DatabaseWrapper(RetryingWrapper, base.DatabaseWrapper):
    """A connection to one database, borrowed from the endpoint's pool for as long as the wrapper is open.

    A wrapper is made anew each time that a tenant is entered, so that nothing of a request (a transaction, the log of its
    queries, what it wanted done on commit) is there in the next one. What costs time is left for the moment it is needed.
    """

    ops_class = DatabaseOperations
    # The tenant's plan, by which its time limits are; control has none.
    plan = ""

    def __init__(
        self, settings_dict: dict[str, Any], alias: str, endpoint: Endpoint | None = None, server: str = CONTROL_SERVER
    ) -> None:
        super().__init__(settings_dict, alias)
        self.execute_wrappers.append(measure)
        self._endpoint = endpoint
        self._server = server
        self._route_pool: RoutePool | None = None

    @cached_property
    def pool(self) -> RoutePool:
        if self._endpoint is None:
            from tenants.servers import control_endpoint

            self._endpoint = control_endpoint()
        self._route_pool = self._make_route_pool(self._endpoint)
        return self._route_pool

    def _make_route_pool(self, endpoint: Endpoint) -> RoutePool:
        from tenants.db.routes import PrimaryRoutePool

        return PrimaryRoutePool(endpoint, alias=self.alias, connect_kwargs=self._connect_kwargs, server=self._server)

    def _connect_kwargs(self) -> dict[str, Any]:
        """What psycopg connects with. Options of the database's URL come before ours."""
        parameters = super().get_connection_params()
        return {
            **NETWORK_OPTIONS,
            "application_name": application_name(self.alias),
            **parameters,
            "options": f"{startup_options(self.plan)} {parameters.get('options', '')}".strip(),
            "cursor_factory": Cursor,
        }

    def get_connection_params(self) -> dict[str, Any]:
        # Django asks for them at each loan; the pool makes them when it opens a connection.
        return {}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        if self.alias.startswith("t:"):
            self._check_active()
        connection: Connection = super().get_new_connection(conn_params)
        return connection

    def _check_active(self) -> None:
        """Refuse whoever kept a wrapper of a tenant that isn't active any more: it would open a connection again."""
        ref = context.active()
        if ref is None:
            raise NoTenant(f"A connection of {self.alias!r}")
        if ref.alias != owner_of(self.alias):
            raise CrossTenant(
                what=f"A connection of {self.alias!r}", belongs_to="another tenant or epoch", used_in=str(ref)
            )

    def _set_autocommit(self, autocommit: bool) -> None:
        if self.connection.autocommit != autocommit:  # the pool lends with autocommit on
            super()._set_autocommit(autocommit)  # type: ignore[misc]

    def init_connection_state(self) -> None:
        """Check the server's version once for each endpoint; Django would remember it by alias, for ever."""
        endpoint = self.pool.endpoint
        if endpoint.key not in _checked:
            self.check_database_version_supported()
            _checked.add(endpoint.key)

    def copy(self, alias: str | None = None) -> Any:
        """A second wrapper to the same place, for whoever needs two connections at once."""
        other = super().copy(alias)
        other._endpoint, other._server, other.plan = self._endpoint, self._server, self.plan
        return other

    def close_pool(self) -> None:
        """The pool is shared by all tenants of the endpoint and ends with the process."""

    def ensure_timezone(self) -> bool:
        """Sessions start in UTC; the original closes the pool here."""
        return False

    def _configure_connection(self, connection: Any) -> bool:
        return False


_checked: set[tuple[str, int]] = set()


def settings_for(*, name: str, user: str, password: str, endpoint: Endpoint, application: str) -> dict[str, Any]:
    """Django's settings of a connection to database `name` of an endpoint, complete as ConnectionHandler would make them."""
    return {
        "ENGINE": "tenants.db",
        "NAME": name,
        "USER": user,
        "PASSWORD": password,
        "HOST": endpoint.host,
        "PORT": str(endpoint.port),
        "OPTIONS": {**dict(endpoint.options), "application_name": application_name(application)},
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "TIME_ZONE": None,
        "TEST": {"CHARSET": None, "COLLATION": None, "MIGRATE": True, "MIRROR": None, "NAME": None},
    }
