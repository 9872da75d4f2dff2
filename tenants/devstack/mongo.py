"""The embedded MongoDB wire server (SecantusDB, GPL-2.0: a process of its own, for development and tests alone)."""

from __future__ import annotations

import sys
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tenants.devstack.folder import DataFolder
from tenants.devstack.ports import HOST
from tenants.devstack.process import Process


class Mongo(Process):
    name = "mongo"

    def __init__(self, folder: DataFolder, port: int, *, database: str = "tenantry", durable: bool = True) -> None:
        super().__init__(folder)
        self.port = port
        self.url = f"mongodb://{HOST}:{port}/{database}"
        self.durable = durable
        self.data = folder.path / "mongo"

    def command(self) -> list[str]:
        self.data.mkdir(mode=0o700, exist_ok=True)
        # Without a file of its own it would read one from the home directory.
        configuration = self.data / "secantusd.toml"
        configuration.touch()
        return [
            *(sys.executable, "-m", "secantus"),
            *("--config", str(configuration)),
            *("--host", HOST, "--port", str(self.port)),
            *("--storage-path", str(self.data / "data")),
            *("--cache-size", "256M", "--log-level", "WARNING"),
            *(["--sync-on-commit"] if self.durable else []),
        ]

    def is_ready(self) -> bool:
        client: MongoClient[dict[str, Any]] = MongoClient(
            HOST,
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=300,
            connectTimeoutMS=300,
            socketTimeoutMS=1000,
        )
        try:
            client.admin.command("ping")
        except PyMongoError:
            return False
        else:
            return True
        finally:
            client.close()
