"""Database URLs, as the environment and the registry hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

POOL_NUMBERS = {
    "pool_max": int,
    "pool_max_per_tenant": int,
    "pool_max_waiting": int,
    "pool_timeout": float,
    "pool_max_idle": float,
    "pool_max_lifetime": float,
}


def database(url: str) -> dict[str, Any]:
    """A Postgres URL as Django's settings of a connection, plus `POOL`: the pool's numbers out of the URL's query.

    Several hosts may stand in it as libpq takes them (`host1:5432,host2:5433`): the first one is HOST and PORT, the others are
    `STANDBYS`, pairs of host and port that may become the primary.
    User and password are percent-decoded. Options that aren't the pool's (`sslmode`, `sslrootcert`, …) go to libpq as they are.
    Raises ImproperlyConfigured, without the URL in the message since it holds a password.
    """
    parts = urlsplit(url)
    hosts = _hosts(parts.netloc)
    if parts.scheme not in {"postgres", "postgresql"} or not hosts:
        raise ImproperlyConfigured(
            "A database URL must look like postgres://user:password@host:5432/name, or have several hosts: host1:5432,host2:5432."
        )
    options: dict[str, Any] = {}
    pool: dict[str, float] = {}
    for key, value in parse_qsl(parts.query):
        if key in POOL_NUMBERS:
            try:
                pool[key.removeprefix("pool_")] = POOL_NUMBERS[key](value)
            except ValueError:
                raise ImproperlyConfigured(f"{key} in a database URL must be a number, not {value!r}.") from None
        else:
            options[key] = value
    return {
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": hosts[0][0],
        "PORT": str(hosts[0][1]),
        "OPTIONS": options,
        "POOL": pool,
        "STANDBYS": hosts[1:],
    }


def _hosts(netloc: str) -> list[tuple[str, int]]:
    """The hosts and ports of a URL; none when one of them can't be read."""
    found = []
    for each in netloc.rpartition("@")[2].split(","):
        try:
            parts = urlsplit(f"//{each}")
            host, port = parts.hostname, parts.port or 5432
        except ValueError:
            return []
        if not host:
            return []
        found.append((unquote(host), port))
    return found


def connection_arguments(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """What psycopg calls where a parsed URL leads and who signs in. The URL's options are not in it: callers add their own to those."""
    return {
        "host": parsed["HOST"],
        "port": parsed["PORT"],
        "dbname": parsed["NAME"],
        "user": parsed["USER"],
        "password": parsed["PASSWORD"],
    }
