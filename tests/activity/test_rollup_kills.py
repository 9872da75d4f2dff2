"""However relays are killed, the rollups equal a recount of the log; counted outside the transaction, they don't."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from activity import rollups
from activity.models import OutboxEvent
from activity.relay import relay
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant
from tests.activity.counts import counted, recount
from tests.activity.test_relay_kills import kill_relay_at
from tests.activity.test_rollups import ingest, some

POINTS = ("uncounted", "counted", "committed")


def die_at(ref: TenantRef, point: str, *, careless: bool = False) -> int:
    """Run a relay that kills itself there; returns how it ended."""
    return subprocess.run(
        [sys.executable, "-m", "tests.activity.counting_process", ref.id, point, *(["careless"] if careless else [])],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        check=False,
        timeout=60,
    ).returncode


def test_each_point_of_the_counting(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        for seed, point in enumerate(POINTS):
            ingest(some(20, seed=seed))
            assert die_at(ref, point) == -signal.SIGKILL
            assert OutboxEvent.objects.exists() is (point != "committed")
        assert counted() == recount(ref)
        assert sum(counted().values()) == 2 * 60


def test_killed_at_random(lasting_tenant: LastingTenant) -> None:
    """6 kills; `make scenarios` has 60."""
    run_of_kills(lasting_tenant(), kills=6)


@pytest.mark.scenario
def test_killed_at_random_at_length(lasting_tenant: LastingTenant) -> None:
    run_of_kills(lasting_tenant(), kills=60)


def run_of_kills(ref: TenantRef, *, kills: int) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with context.use_tenant(ref):
        for kill in range(kills):
            ingest(some(chance.randrange(1, 40), seed=kill))
            point = chance.choice([*POINTS, "find", "insert", "insert answered"])
            if point in POINTS:
                die_at(ref, point)
            elif OutboxEvent.objects.filter(seq__isnull=False).exists():
                kill_relay_at(ref, "insert", after=point.endswith("answered"))  # what is numbered is appended first
            else:
                kill_relay_at(ref, point.split()[0], after=point.endswith("answered"))
        relay(ref)
        assert not OutboxEvent.objects.exists()
        rollups.catch_up(ref)
        assert counted() == recount(ref)


def test_counted_after_the_transaction_events_are_missing(lasting_tenant: LastingTenant) -> None:
    """The control."""
    ref = lasting_tenant()
    with context.use_tenant(ref):
        ingest(some(20))
        assert die_at(ref, "none", careless=True) == 0
        assert counted() == recount(ref)
        ingest(some(20, seed=2))
        assert die_at(ref, "committed", careless=True) == -signal.SIGKILL
        assert counted() != recount(ref)
