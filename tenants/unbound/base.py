"""The database engine of `default` while no tenant is active.

It answers what Django asks about the kind of database while models are defined and SQL is shown (quoting, features, operators; for
a fixed server version), and refuses to connect. Nothing ever falls back to another database.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.db.backends.postgresql import base

from tenants.errors import NoTenant

POSTGRES_VERSION = 180000


class DatabaseWrapper(base.DatabaseWrapper):
    """A Postgres wrapper that never connects."""

    pg_version = POSTGRES_VERSION  # the original asks the server

    @property
    def pool(self) -> None:
        return None

    def connect(self) -> NoReturn:
        raise NoTenant()

    def get_new_connection(self, conn_params: Any) -> NoReturn:
        raise NoTenant()

    def get_connection_params(self) -> NoReturn:
        raise NoTenant()

    def close(self) -> None:
        """There is nothing to close."""
