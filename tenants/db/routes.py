"""The ways to a database: to whichever node is the primary by now, or to one replica with the primary behind it.

To open a connection is safe to repeat, so a node that doesn't answer is tried again after a moment, with jitter; where its breaker is
open nobody tries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import structlog

from tenants.db import monitor, replicas, roles
from tenants.db.base import ConnectKwargs, RoutePool
from tenants.db.breaker import breaker_of, is_unreachable
from tenants.db.connection import Connection
from tenants.db.pools import Endpoint, pool_of
from tenants.errors import NotPrimary
from tenants.servers import primary_endpoint

log = structlog.get_logger(__name__)

# Seconds before each further try to connect, at most; a try that itself took longer than SLOW isn't repeated.
PAUSES = (0.05, 0.15)
SLOW = 1.0

# Asked after a refused password: the one that holds by now, or None when there is no other to be expected.
Renew = Callable[[], str | None]


class Patience:
    """The tries to open one connection to a node, but for the waiting: for threads and event loops alike."""

    def __init__(self, endpoint: Endpoint, pauses: Sequence[float] = PAUSES) -> None:
        self._breaker = breaker_of(endpoint)
        self._pauses = iter(pauses)
        self._began = 0.0

    def begin(self) -> None:
        """Begin a try. Raises EndpointDown where nobody tries."""
        self._breaker.check()
        self._began = time.monotonic()

    def pause_after(self, error: psycopg.OperationalError, *, renewed: bool = False) -> float | None:
        """The seconds to wait after a failed try and before the next one, or None: there is none.

        `renewed`: the password was refused, and there is another one to try.
        """
        if is_unreachable(error):
            self._breaker.failed()
            if time.monotonic() - self._began > SLOW:
                return None
        elif not renewed:
            return None
        pause = next(self._pauses, None)
        return pause and pause * random.uniform(0.5, 1.0)  # noqa: S311  jitter, so that not all try again at once

    def succeeded(self) -> None:
        self._breaker.succeeded()


def is_refused(error: psycopg.OperationalError) -> bool:
    """Whether a failed connect was refused after a password was sent."""
    return error.pgconn is not None and error.pgconn.used_password


class PrimaryRoute(RoutePool):
    """A database on one node, for as long as that is the primary. The pool may open its connections in any thread."""

    def __init__(self, endpoint: Endpoint, *, alias: str, connect_kwargs: ConnectKwargs, renew: Renew) -> None:
        super().__init__(endpoint, alias=alias, connect_kwargs=connect_kwargs)
        self._renew = renew
        self._renewed: dict[str, Any] = {}

    @property
    def _connect_kwargs(self) -> dict[str, Any]:
        here = {"host": self.endpoint.host, "port": str(self.endpoint.port), **dict(self.endpoint.options)}
        return {**super()._connect_kwargs, **here, **self._renewed}

    def connect(self) -> Connection:
        """Open a connection that is in the right database of a primary. Raises WrongDatabase, NotPrimary, EndpointDown."""
        connection = self._connect_patiently()
        if connection.is_standby:
            connection.close()
            roles.demoted(self.endpoint)
            monitor.wake()
            raise NotPrimary(endpoint=self.endpoint.name)
        return connection

    def _connect_patiently(self) -> Connection:
        patience = Patience(self.endpoint)
        while True:
            patience.begin()
            try:
                connection = super().connect()
            except psycopg.OperationalError as error:
                renewed = is_refused(error) and self._renew_password()
                pause = patience.pause_after(error, renewed=renewed)
                if pause is None:
                    raise
            else:
                patience.succeeded()
                return connection
            time.sleep(pause)

    def _renew_password(self) -> bool:
        """Whether it is worth another try: the password was rotated, or is being rotated just now."""
        password = self._renew()
        if password is not None:
            self._renewed = {"password": password}
        return password is not None


class PrimaryRoutePool(RoutePool):
    """A database's pool on its server's primary, wherever that is when a connection is borrowed."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        alias: str,
        connect_kwargs: ConnectKwargs,
        server: str,
        renew: Renew = lambda: None,
    ) -> None:
        super().__init__(endpoint, alias=alias, connect_kwargs=connect_kwargs)
        self.server = server
        self._renew = renew
        self._route = self._route_to(endpoint)

    def getconn(self, timeout: float | None = None) -> Connection:
        """Lend a connection to the primary. Raises NotPrimary when the one that is known isn't one, besides what the pool raises."""
        for last in (False, True):
            endpoint = primary_endpoint(self.server)
            if endpoint.key != self.endpoint.key:
                self.endpoint, self._route = endpoint, self._route_to(endpoint)
            if roles.is_fenced(endpoint):
                break
            try:
                connection = self._route.getconn(timeout)
            except NotPrimary:
                if last or primary_endpoint(self.server).key == endpoint.key:
                    raise
                continue
            if not roles.is_fenced(endpoint):
                return connection
            # It was fenced while this one was on its way: the pool's other connections have been cut.
            connection.close()
            pool_of(endpoint).putconn(connection)
        monitor.wake()
        raise NotPrimary(endpoint=self.endpoint.name)

    def _route_to(self, endpoint: Endpoint) -> PrimaryRoute:
        return PrimaryRoute(endpoint, alias=self.alias, connect_kwargs=self._given_kwargs, renew=self._renew)


class ReplicaRoutePool(RoutePool):
    """A replica's pool, with the primary behind it: when the replica can't be reached, the primary serves."""

    def __init__(
        self, endpoint: Endpoint, *, alias: str, connect_kwargs: ConnectKwargs, primary: Callable[[], RoutePool]
    ) -> None:
        super().__init__(endpoint, alias=alias, connect_kwargs=connect_kwargs)
        self._primary = primary

    @property
    def _connect_kwargs(self) -> dict[str, Any]:
        # A read that can go elsewhere doesn't wait for long; libpq takes no less than two seconds.
        return {**super()._connect_kwargs, "connect_timeout": "2"}

    def getconn(self, timeout: float | None = None) -> Connection:
        """Lend a connection to the replica, or else to the primary."""
        try:
            return super().getconn(timeout)
        except psycopg.OperationalError as error:
            log.warning("replica_unavailable", replica=self.endpoint.name, error=type(error).__name__)
            replicas.mark_failed(self.endpoint)
            return self._primary().getconn(timeout)

    def connect(self) -> Connection:
        """Open a connection to the replica. Raises EndpointDown at once where it is known not to answer."""
        patience = Patience(self.endpoint, pauses=())
        patience.begin()
        try:
            connection = super().connect()
        except psycopg.OperationalError as error:
            patience.pause_after(error)
            raise
        patience.succeeded()
        return connection
