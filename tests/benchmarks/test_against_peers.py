"""The members endpoint beside the same list on one plain database and on django-tenants, over HTTP. Run by `make bench`.

The peers neither authenticate nor limit, log, measure or route anything; Tenantry does all of it. They are given by two variables:

    TENANTRY_PEERS          a folder with peer_app.py: `PEER=… python peer_app.py setup N`, `gunicorn peer_app:application`
    TENANTRY_PEERS_PYTHON   a Python that has their packages (django-tenants isn't among ours) and gunicorn

All have 30 tenants with 1,000 members each on the same Postgres, answer 20 of them, and run with two processes of four
threads. Tenantry is measured
twice: on one Postgres, as the peers are, and with a replica that shares the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.db import connection

from accounts.models import User
from accounts.roles import Role
from accounts.services.tokens import token_create
from tenants import directory
from tenants.context import use_control, use_tenant
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.models import Server, Tenant
from tests.operations.processes import free_port, front_end
from tests.tenants.conftest import primary_url

pytestmark = pytest.mark.bench

TENANTS = 30
MEMBERS = 1_000
ROUNDS = 7
SECONDS = 5
CONNECTIONS = 16
SCRIPT = Path(__file__).with_name("tenants.lua")


@dataclass(frozen=True, slots=True)
class Target:
    """A front end, and whom to ask there."""

    name: str
    url: str
    path: str
    hosts: list[str]  # `host` or `host token`

    def run(self, folder: Path, seconds: float) -> tuple[float, float]:
        """Requests per second, and the 99th percentile in milliseconds. Every answer must be a 2xx."""
        targets = folder / f"{self.name}.hosts"
        targets.write_text("\n".join(self.hosts))
        answer = subprocess.run(
            [
                "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "-s", str(SCRIPT), "--latency", self.url
            ],
            env={**os.environ, "TARGETS": str(targets), "TARGET_PATH": self.path},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "Non-2xx" not in answer, answer
        assert "Socket errors" not in answer, answer
        rate = re.search(r"Requests/sec:\s+([\d.]+)", answer)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", answer)
        assert rate, answer
        assert p99, answer
        return float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]


def _given(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"Set {variable}: the peers are measured beside, and {__file__} says what they are.")
    return value


@contextmanager
def peer(name: str, folder: Path) -> Iterator[Target]:
    """A peer with its tenants made, serving."""
    program = Path(_given("TENANTRY_PEERS"))
    python = _given("TENANTRY_PEERS_PYTHON")
    postgres = urlsplit(primary_url())
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "PEER": name,
        "PGHOST": str(postgres.hostname), "PGPORT": str(postgres.port), "PGUSER": str(postgres.username),
        "PGPASSWORD": postgres.password or "",
    }  # fmt: skip
    options: dict[str, Any] = {"cwd": program, "env": environment}
    subprocess.run([python, "peer_app.py", "setup", str(TENANTS)], check=True, **options)
    port = free_port()
    command = ["-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-w", "2", "-k", "gthread", "--threads", "4"]
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(
            [python, *command, "--keep-alive", "75", "peer_app:application"], stdout=log, stderr=log, **options
        )
    hosts = [f"t{number}.localhost" for number in range(TENANTS)]
    target = Target(name, f"http://127.0.0.1:{port}", "/api/members", hosts)
    try:
        _wait_for(target)
        yield target
    finally:
        running.terminate()
        running.wait(30)


@contextmanager
def tenantry(folder: Path, *, server: str) -> Iterator[Target]:
    """Tenantry with its tenants made, serving with the peers' number of threads, a pool for all tenants, and a limit."""
    hosts: list[str] = []
    slugs = [f"bench-{number}" for number in range(TENANTS)]
    try:
        for slug in slugs:
            token = _make_tenant(slug, server)
            hosts.append(f"{slug}.localhost {token}")
        with front_end(folder, "web", RATE_LIMIT="1000000/m", THREADS="4", POOL_MAX=str(2 * TENANTS)) as web:
            target = Target("tenantry", web.url, "/api/v1/members?limit=20", hosts)
            _wait_for(target)
            yield target
    finally:
        for slug in slugs[: len(hosts)]:
            delete_tenant(directory.by_slug(slug))


@contextmanager
def server_without_replica() -> Iterator[str]:
    """The test run's Postgres by another name, under which it has no replica."""
    with use_control():
        alone = Server(name="bench", is_open=False)
        alone.url = primary_url()
        alone.save()
    try:
        yield alone.name
    finally:
        with use_control():
            alone.delete()


def _make_tenant(slug: str, server: str) -> str:
    """A tenant as large as the peers'; answers a token of its owner."""
    with use_control():
        provision_tenant(slug=slug, name=slug)
        Tenant.objects.filter(slug=slug).update(server=server)
    directory.forget_all()
    with use_tenant(directory.by_slug(slug)):
        owner = User.objects.create_user("u0@example.com", name="User 0", role=Role.OWNER)
        User.objects.bulk_create(
            [User(email=f"u{number}@example.com", name=f"User {number}") for number in range(1, MEMBERS)]
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        return token_create(user=owner, name="bench", scopes=["read"])[1]


def _wait_for(target: Target, timeout: float = 60.0) -> None:
    """Wait until the endpoint answers with 20 members."""
    host, _, token = target.hosts[0].partition(" ")
    headers = {"Host": host, **({"Authorization": f"Bearer {token}"} if token else {})}
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = httpx.get(target.url + target.path, headers=headers)
            if len(answer.json()["items"]) == 20:
                return
        except (httpx.TransportError, ValueError, KeyError):
            pass
        assert time.monotonic() < deadline, f"{target.name} did not start"
        time.sleep(0.1)


def _stolen(target: Target) -> float:
    """How often a process of `web` closed a tenant's connection for another's: each costs several requests, so there should be none."""
    answer = httpx.get(f"{target.url}/metrics", headers={"Host": "localhost"})
    found = re.findall(r"^tenantry_pool_connections_stolen_total{.*} ([\d.e+]+)$", answer.text, re.MULTILINE)
    return sum(map(float, found))


@pytest.mark.parametrize("replica", [False, True], ids=["one Postgres", "with a replica"])
def test_the_members_endpoint_beside_its_peers(
    tmp_path: Path, django_db_setup: None, django_db_blocker: Any, replica: bool
) -> None:
    if shutil.which("wrk") is None:
        pytest.fail("Install wrk (a package of Debian), which sends the requests.")
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        peers = [stack.enter_context(peer(name, tmp_path)) for name in ("single", "django_tenants")]
        server = "local" if replica else stack.enter_context(server_without_replica())
        ours = stack.enter_context(tenantry(tmp_path, server=server))
        targets = [ours, *peers]
        seen: dict[str, list[tuple[float, float]]] = {target.name: [] for target in targets}
        for number in range(ROUNDS + 1):
            for target in targets:
                found = target.run(tmp_path, SECONDS)
                if number:  # the first round warms up
                    seen[target.name].append(found)
            if not number:
                stolen = _stolen(ours)
        stolen = _stolen(ours) - stolen
    for name, found in seen.items():
        rates, p99 = zip(*found, strict=True)
        print(
            f"\n{name}: {statistics.median(rates):,.0f} requests/s ({min(rates):,.0f} to {max(rates):,.0f}),"
            f" p99 {statistics.median(p99):.1f} ms ({min(p99):.1f} to {max(p99):.1f})",
            end="",
        )
    print(f"\nconnections that one tenant took from another meanwhile: {stolen:.0f}", end="")
    for theirs in peers:
        for index, what in enumerate(("requests/s", "p99")):
            ratios = [a[index] / b[index] for a, b in zip(seen[ours.name], seen[theirs.name], strict=True)]
            print(
                f"\n{what} as a multiple of {theirs.name}'s: {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f})",
                end="",
            )
    print()
