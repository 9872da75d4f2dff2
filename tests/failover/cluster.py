"""A Postgres primary with replicas of a test's own, each reached through a proxy, whose roles can be changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tenants.devstack.folder import DataFolder
from tenants.devstack.ports import HOST
from tenants.devstack.postgres import SUPERUSER, Postgres, Primary
from tenants.devstack.replica import Replica
from tests.proxy import Proxy
from tests.system import wait_for


class DemotablePrimary(Primary):
    """A primary that can be started again as a standby of another node."""

    followed: Postgres | None = None

    def settings(self) -> dict[str, str]:
        settings = super().settings()
        if self.followed is not None:
            settings["primary_conninfo"] = (
                f"host={HOST} port={self.followed.port} user={SUPERUSER} passfile='{self.passfile}' application_name=former"
            )
            settings["wal_retrieve_retry_interval"] = "200ms"
        return settings

    def is_ready(self) -> bool:
        self.__class__.in_recovery = self.followed is not None  # type: ignore[misc]
        return super().is_ready()


class SecondReplica(Replica):
    name = "postgres-replica2"
    slot = "replica2"


class Cluster:
    """The nodes and their proxies by name: `primary`, `replica`, and `replica2` if asked for."""

    def __init__(self, path: Path, *, replicas: int = 1, seed: Path | None = None) -> None:
        """`seed`: the data folder of a stopped cluster, of which this one begins as a copy."""
        path.chmod(0o755)
        if seed is not None:
            subprocess.run(["cp", "-a", seed, path / "data"], check=True)  # shutil's copies are root's own
        self.folder = DataFolder(path / "data")
        self.folder.open()
        names = ["primary", "replica", "replica2"][: 1 + replicas]
        ports = self.folder.ports(*(f"postgres-{name}" for name in names))
        self.primary = DemotablePrimary(self.folder, ports["postgres-primary"], durable=False)
        self.primary.prepare()
        self.primary.start()
        self.primary.wait_ready()
        self.nodes: dict[str, Postgres] = {"primary": self.primary}
        for name, kind in [("replica", Replica), ("replica2", SecondReplica)][:replicas]:
            replica = kind(self.folder, ports[f"postgres-{name}"], self.primary, durable=False)
            replica.prepare()
            replica.start()
            replica.follow()
            self.nodes[name] = replica
        self.proxies = {name: Proxy(node.url).__enter__() for name, node in self.nodes.items()}

    def stop_all(self) -> None:
        """End it; its data stays."""
        for proxy in self.proxies.values():
            proxy.__exit__()
        for name, node in reversed(self.nodes.items()):
            if node.is_alive:
                self.resume(name)
            node.stop()
        self.folder.close()

    def close(self) -> None:
        self.stop_all()
        shutil.rmtree(self.folder.postgres)  # a run makes some forty of them, of 240 MB each; the logs stay

    def url(self, name: str) -> str:
        """The superuser's URL of a node by way of its proxy."""
        return self.proxies[name].url

    def execute(self, name: str, statement: str, **options: Any) -> list[tuple[Any, ...]]:
        """Run a statement on a node as the superuser, past its proxy."""
        return self.nodes[name].execute(statement, **options)

    # --- Faults

    def stop(self, name: str) -> None:
        """SIGSTOP for a node with all its backends: connections stay open, and nobody answers."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self.nodes[name].pid
        assert pid is not None
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, number)

    # --- Roles

    def promote(self, name: str) -> None:
        """Make a replica a primary; whoever was one stays as it is."""
        self.execute(name, "SELECT pg_promote()")
        wait_for(lambda: self.execute(name, "SELECT NOT pg_is_in_recovery()") == [(True,)], what="the promotion")

    def demote(self, follow: str) -> None:
        """Stop the first primary, promote `follow` and start the first one again as its standby."""
        self.primary.stop()
        self.promote(follow)
        self.primary.followed = self.nodes[follow]
        (self.primary.data / "standby.signal").touch()
        if self.primary.account.uid is not None:
            os.chown(self.primary.data / "standby.signal", self.primary.account.uid, self.primary.account.uid)
        self.primary.start()
        self.primary.wait_ready()

    def timeline(self, name: str) -> int:
        """The timeline that a primary writes."""
        return int(self.execute(name, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")[0][0], 16)
