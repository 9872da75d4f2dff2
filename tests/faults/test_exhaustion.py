"""A tenant whose queries hang is refused with 503 and Retry-After within about a second; the others notice nothing (scenario 12)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.operations.processes import front_end
from tests.system import System

pytestmark = pytest.mark.xdist_group("system")


class Client(threading.Thread):
    """Asks again and again, and keeps (begun at, seconds, status, Retry-After). One that `waits` does as Retry-After says."""

    def __init__(self, system: System, slug: str, *, waits: bool) -> None:
        super().__init__(daemon=True)
        self.system, self.slug, self.waits = system, slug, waits
        self.answers: list[tuple[float, float, int, str | None]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        with self.system.client(self.slug, token=self.system.tenant(self.slug)["token"]) as client:
            while not self.ended.is_set():
                begun = time.monotonic()
                answer = client.get("/api/v1/members", params={"limit": 5})
                self.answers.append(
                    (begun, time.monotonic() - begun, answer.status_code, answer.headers.get("Retry-After"))
                )
                self.ended.wait(float(answer.headers.get("Retry-After", 0.02)) if self.waits else 0.02)


@contextmanager
def asking(system: System, slug: str, count: int, *, waits: bool = False) -> Iterator[list[Client]]:
    clients = [Client(system, slug, waits=waits) for _ in range(count)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join(30)


@contextmanager
def hanging(system: System, slug: str) -> Iterator[None]:
    """Every query of the tenant's members waits for a lock."""
    with psycopg.connect(system["postgres"]["primary"], autocommit=True) as admin:
        databases = admin.execute(
            "SELECT datname FROM pg_database WHERE datname ~ '^tenantry_t_[0-9a-f]{32}$'"
        ).fetchall()
    for (database,) in databases:
        with psycopg.connect(system["postgres"]["primary"], dbname=database) as connection:
            if connection.execute("SELECT 1 FROM accounts_user WHERE email LIKE %s", [f"%@{slug}.%"]).fetchone():
                connection.rollback()
                connection.execute("LOCK TABLE accounts_apitoken, accounts_user IN ACCESS EXCLUSIVE MODE")
                yield
                connection.rollback()
                return
    raise AssertionError(f"no database has people of {slug}")


def fill_up(system: System, seconds: float, *, waits: bool = False) -> tuple[list[Any], list[Any], list[Any]]:
    """What the hanging tenant got, whose clients wait when they are told to or not, and what the other one got before and meanwhile."""
    victim, other = (tenant["slug"] for tenant in system["tenants"][:2])
    with asking(system, other, 4) as others:
        time.sleep(2)
        warm = time.monotonic()
        time.sleep(seconds / 2)
        struck = time.monotonic()
        with hanging(system, victim), asking(system, victim, 40, waits=waits) as victims:
            time.sleep(seconds)
    theirs = [answer for client in others for answer in client.answers]
    return (
        [answer for client in victims for answer in client.answers],
        [answer for answer in theirs if warm <= answer[0] < struck],
        [answer for answer in theirs if answer[0] >= struck],
    )


def p99(answers: list[Any]) -> float:
    times = sorted(answer[1] for answer in answers)
    return float(times[int(len(times) * 0.99)])


def check(victims: list[Any], meanwhile: list[Any]) -> None:
    refused = [answer for answer in victims if answer[2] == 503]
    assert {answer[2] for answer in victims} == {503}
    assert all(answer[3] is not None and int(answer[3]) >= 1 for answer in refused)
    assert {answer[2] for answer in meanwhile} == {200}


def test_the_other_tenant_is_served(system: System) -> None:
    victims, before, meanwhile = fill_up(system, 6)
    quick = sum(answer[1] < 1.5 for answer in victims)
    print(
        f"{len(victims)} refused, {quick} of them within 1.5 s; the other's p99 {p99(before) * 1000:.0f} ms before,"
        f" {p99(meanwhile) * 1000:.0f} ms meanwhile ({len(meanwhile)} answers)"
    )
    check(victims, meanwhile)
    assert (
        quick > len(victims) / 2
    )  # at once, or after a second in line; those that hold a connection wait for the lock


@pytest.mark.scenario
@pytest.mark.parametrize("waits", [True, False], ids=["clients that wait as told", "clients that don't"])
def test_scenario_12_for_a_minute(system: System, waits: bool) -> None:
    """Clients that come back at once have 400 requests a second refused: on two cores that they share, the processors are what is full."""
    victims, before, meanwhile = fill_up(system, 60, waits=waits)
    check(victims, meanwhile)
    print(f"p99 {p99(before) * 1000:.0f} ms before, {p99(meanwhile) * 1000:.0f} ms meanwhile, {len(victims)} refused")
    assert not waits or p99(meanwhile) <= 1.5 * p99(before)


def test_without_a_cap_the_other_tenant_waits_too(system: System, tmp_path: Path) -> None:
    """The control of the test above: another `web` of the same system, where a tenant may take all of a pool."""
    environment = psutil.Process(system["pids"]["web"]).environ()
    del environment["BIND"]
    environment |= {"POOL_MAX_PER_TENANT": "1000", "POOL_MAX": "8", "METRICS_DIR": str(tmp_path / "metrics")}
    with front_end(tmp_path, "web", **environment) as uncapped:
        aside = System(system.folder)
        aside.update(system, web=uncapped.url)
        _, _, meanwhile = fill_up(aside, 6)
    assert max(answer[1] for answer in meanwhile) > 2
