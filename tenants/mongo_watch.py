"""What pymongo tells of its servers and of its pool, for the log and `/ready?detail`. Its client is given one of these."""

from __future__ import annotations

import threading
from typing import Any

from pymongo import monitoring
from pymongo.monitoring import ConnectionPoolListener, ServerListener

from tenants.clients import MONGO

_AWAY = "Unknown"


class MongoWatch(ServerListener, ConnectionPoolListener):
    """Listens to one client: `MONGO` is `ok` while any of its servers is known, and `down` once none is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[Any, str] = {}
        self._connections = self._in_use = 0
        MONGO.facts = self.facts

    def facts(self) -> dict[str, Any]:
        """The servers by address with their type, and how many connections are open and in use."""
        servers = {f"{host}:{port}": kind for (host, port), kind in list(self._servers.items())}
        return {"servers": servers, "connections": self._connections, "in_use": self._in_use}

    def _count(self, *, connections: int = 0, in_use: int = 0) -> None:
        with self._lock:
            self._connections += connections
            self._in_use += in_use

    # --- Servers

    def opened(self, event: monitoring.ServerOpeningEvent) -> None:
        self._servers[event.server_address] = _AWAY

    def description_changed(self, event: monitoring.ServerDescriptionChangedEvent) -> None:
        self._servers[event.server_address] = event.new_description.server_type_name
        if any(kind != _AWAY for kind in self._servers.values()):
            MONGO.found()
        else:
            MONGO.lost(event.new_description.error)

    def closed(self, event: monitoring.ServerClosedEvent) -> None:
        self._servers.pop(event.server_address, None)

    # --- The pool

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        self._count(connections=1)

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        self._count(connections=-1)

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._count(in_use=1)

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        self._count(in_use=-1)

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Nothing to count yet."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Nothing to count."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Its connections are told one by one."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Its connections were told one by one."""

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """It was counted when it was created."""

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        """Counted when it has one."""

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """It has none."""
