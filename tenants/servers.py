"""Where each server's endpoints are: read from the registry, remembered for a few seconds."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from django.conf import settings

from tenants.db.pools import Endpoint
from tenants.db.urls import database

# Seconds for which a process may use what it read of a server. Its endpoints change by an operator's hand alone.
TTL = 5.0


@dataclass(frozen=True, slots=True)
class ServerRef:
    """A server's endpoints. The URLs hold an administrator's password, so they stay out of the repr."""

    name: str
    primary: Endpoint
    replicas: tuple[Endpoint, ...]
    replica_urls: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<server {self.name}>"


_known: dict[str, tuple[ServerRef, float]] = {}
_lock = threading.Lock()


def endpoint_of(url: str, *, name: str) -> Endpoint:
    """The endpoint that a database URL names, without its user and password."""
    parsed = database(url)
    return Endpoint(
        name=name,
        host=parsed["HOST"],
        port=int(parsed["PORT"]),
        options=tuple(sorted(parsed["OPTIONS"].items())),
        numbers=tuple(sorted(parsed["POOL"].items())),
    )


def server_of(name: str) -> ServerRef:
    """The server of that name. Raises tenants.models.Server.DoesNotExist."""
    known = _known.get(name)
    if known is None or time.monotonic() - known[1] > TTL:
        with _lock:
            known = _known.get(name)
            if known is None or time.monotonic() - known[1] > TTL:
                known = _known[name] = (_load(name), time.monotonic())
    return known[0]


def forget_servers() -> None:
    """Read every server anew when it is next asked for."""
    _known.clear()


def control_endpoint() -> Endpoint:
    """The endpoint of the control database."""
    control = settings.DATABASES["control"]
    return Endpoint(
        name="control",
        host=control["HOST"],
        port=int(control["PORT"]),
        options=tuple(sorted((key, str(value)) for key, value in control["OPTIONS"].items())),
        numbers=tuple(sorted(control.get("POOL", {}).items())),
    )


def _load(name: str) -> ServerRef:
    from tenants.db.handler import release_unless_active
    from tenants.models import Server

    try:
        server = Server.objects.prefetch_related("replicas").get(pk=name)
        replicas = list(server.replicas.all())
    finally:
        release_unless_active("control")
    return ServerRef(
        name=name,
        primary=endpoint_of(server.url, name=name),
        replicas=tuple(endpoint_of(replica.url, name=f"{name}/{replica.name}") for replica in replicas),
        replica_urls=tuple(replica.url for replica in replicas),
    )
