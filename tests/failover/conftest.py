"""A server of its own for a test, in the registry, with a tenant on it. Heavy: one xdist group."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tenants.context import use_control
from tenants.db import monitor, roles
from tenants.errors import ProvisioningFailed
from tenants.lifecycle.provision import provision_tenant
from tenants.lifecycle.template import ensure_template
from tenants.models import Replica, Server, Tenant
from tenants.refs import TenantRef
from tenants.servers import forget_servers, server_of
from tests.failover.cluster import Cluster
from tests.system import wait_for

_numbers = itertools.count(1)


@pytest.fixture
def make_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    clusters: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        clusters.append(Cluster(tmp_path_factory.mktemp("cluster"), **options))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


def provisioned(name: str) -> TenantRef:
    """A tenant on the cluster, at the second try if the machine has kept its servers from answering for a moment."""
    try:
        return provision_tenant(slug=f"tenant-of-{name}", name=name, server=name)[0]
    except ProvisioningFailed:
        primary = server_of(name).primary
        wait_for(
            lambda: (state := roles.state_of(primary)) and state.healthy, timeout=20, what="a primary that answers"
        )
        return provision_tenant(slug=f"tenant-of-{name}", name=name, server=name)[0]


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any) -> Iterator[Path]:
    """The data folder of a primary that has the template of tenants' databases, which takes longer to make than most tests here."""
    cluster = Cluster(tmp_path_factory.mktemp("seed"), replicas=0)
    with django_db_blocker.unblock(), use_control():
        server = Server(name="seed")
        server.url = cluster.url("primary")
        server.save()
        ensure_template(server)
        server.delete()
        monitor.unwatch("seed")
        forget_servers()
    cluster.stop_all()
    yield cluster.folder.path
    shutil.rmtree(cluster.folder.postgres)


@pytest.fixture
def home(
    make_cluster: Callable[..., Cluster], seed: Path, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Callable[..., tuple[Cluster, TenantRef]]]:
    """Make a cluster, register it and put a tenant on it; all of that is forgotten at the end."""
    made: list[str] = []
    with django_db_blocker.unblock():

        def make(**options: Any) -> tuple[Cluster, TenantRef]:
            cluster = make_cluster(seed=seed, **options)
            name = f"cluster{next(_numbers)}"
            made.append(name)
            with use_control():
                server = Server(name=name)
                server.url = cluster.url("primary")
                server.save()
                for node in list(cluster.nodes)[1:]:
                    replica = Replica(server=server, name=node)
                    replica.url = cluster.url(node)
                    replica.save()
                ref = provisioned(name)
            wait_for(
                lambda: all((state := roles.state_of(end)) and state.healthy for end in server_of(name).replicas),
                what="streaming replicas",
            )
            return cluster, ref

        yield make
        with use_control():
            for name in made:
                Tenant.objects.filter(server=name).delete()
                Server.objects.filter(pk=name).delete()
                monitor.unwatch(name)
            forget_servers()


@dataclass
class Load:
    """Threads that do something again and again, and what became of it: (begun at, seconds, error or empty)."""

    work: Callable[[], Any]
    threads: int = 4
    pause: float = 0.005
    done: list[tuple[float, float, str]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        for _ in range(self.threads):
            self._running.append(threading.Thread(target=self._run))
            self._running[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._running:
            thread.join(30)
            assert not thread.is_alive(), "somebody still waits"

    def _run(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            error = ""
            try:
                self.work()
            except Exception as failure:
                error = f"{type(failure).__name__}: {failure}"
            self.done.append((begun, time.monotonic() - begun, error))
            time.sleep(self.pause)

    def errors(self, since: float = 0.0) -> list[str]:
        return [error for begun, _, error in self.done if error and begun >= since]

    def p99(self, since: float, until: float) -> float:
        times = sorted(seconds for begun, seconds, _ in self.done if since <= begun < until)
        assert len(times) >= 20, f"only {len(times)} were done"
        return times[int(len(times) * 0.99)]
