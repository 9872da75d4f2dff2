"""The development servers as one object: for `manage.py up`, for tests, and for any script that needs real servers.

with EmbeddedServers("/tmp/data", replica=True) as servers:
    servers.primary_url, servers.replica_urls, servers.redis_url, servers.mongo_url, servers.pids
    servers.postgres.restart(mode="immediate")
    servers["redis"].kill()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from tenants.devstack import leftovers
from tenants.devstack.folder import DataFolder
from tenants.devstack.mongo import Mongo
from tenants.devstack.postgres import Primary
from tenants.devstack.process import Process, stop_together
from tenants.devstack.replica import Replica
from tenants.devstack.supervisor import Supervisor
from tenants.devstack.valkey import Valkey


class EmbeddedServers(Mapping[str, Process]):
    """Postgres (primary and, if asked for, replica), Valkey and MongoDB in a data folder, by the names of `up.json`.

    Data outlives `stop()`. `durable=False` is for tests, which need none after a power cut: nothing is synced to disk.
    """

    def __init__(self, path: Path | str, *, replica: bool = True, durable: bool = True) -> None:
        self.folder = DataFolder(path)
        self._with_replica = replica
        self._durable = durable
        self._parts: dict[str, Process] = {}

    # --- What tests and settings ask for

    @property
    def primary_url(self) -> str:
        """The superuser's URL of the primary."""
        return self.postgres.url

    @property
    def replica_urls(self) -> list[str]:
        """The superuser's URLs of the replicas."""
        return [self.replica.url] if self._with_replica else []

    @property
    def redis_url(self) -> str:
        return self.redis.url

    @property
    def mongo_url(self) -> str:
        """The URL of MongoDB, with the database `tenantry`."""
        return self.mongo.url

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part that runs."""
        return {name: part.pid for name, part in self._parts.items() if part.pid and part.is_alive}

    def __getitem__(self, name: str) -> Process:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    # --- Start and end

    def open(self) -> list[str]:
        """Lock the folder and end what a killed run left in it; the names of what was ended. Raises FolderUnusable."""
        self.folder.open()
        return leftovers.end(self.folder.path)

    def start(self, supervisor: Supervisor | None = None) -> None:
        """Start all parts under the supervisor and return when they are ready. Raises DevstackError."""
        supervisor = supervisor or Supervisor(say=lambda sentence: None)
        ports = self.folder.ports("postgres-primary", "postgres-replica", "redis", "mongo")
        self.postgres = Primary(self.folder, ports["postgres-primary"], durable=self._durable)
        self.replica = Replica(self.folder, ports["postgres-replica"], self.postgres, durable=self._durable)
        self.redis = Valkey(self.folder, ports["redis"], durable=self._durable)
        self.mongo = Mongo(self.folder, ports["mongo"], durable=self._durable)
        chosen: list[Process] = [self.postgres, *([self.replica] if self._with_replica else []), self.redis, self.mongo]
        self._parts = {part.name: part for part in chosen}

        supervisor.launch(self.mongo, self.redis)
        self.postgres.prepare()
        supervisor.launch(self.postgres)
        supervisor.wait_ready(self.postgres)
        if self._with_replica:
            self.replica.prepare()
            supervisor.launch(self.replica)
        supervisor.wait_ready()
        if self._with_replica:
            self.replica.follow()

    def stop(self, *, after: Callable[[], object] = lambda: None) -> None:
        """Stop all parts, the primary last, and unlock the folder, having called `after`."""
        primary = [part for part in self.values() if isinstance(part, Primary)]
        stop_together(part for part in self.values() if part not in primary)
        stop_together(primary)
        if self.folder.is_open:
            after()
        self.folder.close()

    def __enter__(self) -> EmbeddedServers:
        self.open()
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
