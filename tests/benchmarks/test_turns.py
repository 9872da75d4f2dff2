"""What it costs to choose whose turn it is, with few tenants waiting and with many. Run by `make bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest
from django.db import connection, connections
from pytest_django import DjangoDbBlocker

from activity.jobs import turns
from tenants.context import use_control
from tenants.models import JobSummary, JobTurn, Server, Tenant
from tenants.refs import CONTROL

pytestmark = pytest.mark.bench

SIZES = (10, 100, 1_000, 10_000)
ROUNDS = 15
TURNS = 40  # a round's
ALLOWED = 1.2  # times what it costs with ten

_TENANTS = """
INSERT INTO tenants_tenant
    (id, slug, name, plan, state, server_id, database, role, encrypted_password, schema_version, epoch, created_at)
SELECT gen_random_uuid(), 'turn-' || number, '', 'business', 'active', %s, 'turn' || number, '', '', '', 1, now()
FROM generate_series(1, %s) AS number
"""
_JOBS = """
INSERT INTO tenants_jobsummary (id, tenant_id, kind, state, done, error, due_at)
SELECT gen_random_uuid(), id, 'tests.none', 'queued', 0, '', now() - interval '1 second'
FROM (SELECT id FROM tenants_tenant WHERE slug LIKE 'turn-%%' LIMIT %s) AS tenant, generate_series(1, %s)
"""
_TURNS = """
INSERT INTO tenants_jobturn (owner, tenant_id, turn, is_waiting, is_full, is_paused)
SELECT id::text, id, random(), true, false, false FROM tenants_tenant WHERE slug LIKE 'turn-%%' LIMIT %s
"""


@pytest.fixture
def many_tenants(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Entries in control, committed: what a transaction has written itself costs otherwise."""
    with django_db_blocker.unblock(), use_control():
        forget()
        with connection.cursor() as cursor:
            cursor.execute(_TENANTS, [Server.objects.all()[0].pk, max(SIZES)])
        yield
        forget()
        Tenant.objects.filter(slug__startswith="turn-").delete()


def forget() -> None:
    JobSummary.objects.all().delete()
    JobTurn.objects.all().delete()


def waiting(tenants: int) -> None:
    """So many tenants have jobs waiting, enough for a round."""
    with connections[CONTROL.alias].cursor() as cursor:
        cursor.execute("TRUNCATE tenants_jobturn, tenants_jobsummary")
        cursor.execute(_JOBS, [tenants, max(1, 8 * TURNS // tenants)])
        cursor.execute(_TURNS, [tenants])
        cursor.execute("VACUUM ANALYZE tenants_jobturn, tenants_jobsummary, tenants_tenant")


def turn_ms() -> float:
    """Milliseconds of a turn, its end included, at the median of a round's."""
    found = []
    for _ in range(TURNS):
        started = time.perf_counter()
        taken = turns.take()
        assert taken is not None
        found.append(1e3 * (time.perf_counter() - started))
        JobSummary.objects.filter(pk=taken.job_id).update(state="succeeded", finished_at="2026-01-01T00:00:00Z")
        turns.make_room(taken.owner)
    return statistics.median(found)


def test_a_turn_costs_the_same_however_many_wait(many_tenants: None) -> None:
    rounds: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(ROUNDS):
        for size in SIZES if number % 2 else reversed(SIZES):
            waiting(size)
            turn_ms() if not number else None  # a warm-up, of plans and pages
            waiting(size)
            rounds[size].append(turn_ms())
    ratios = {
        size: statistics.median(mine / ten for mine, ten in zip(rounds[size], rounds[SIZES[0]], strict=True))
        for size in SIZES
    }
    for size in SIZES:
        print(
            f"\n{size:>6} wait: {statistics.median(rounds[size]):.2f} ms a turn, {ratios[size]:.2f} times that of ten"
        )
    assert max(ratios.values()) <= ALLOWED
