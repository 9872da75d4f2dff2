"""One tenant starts many jobs, then another starts ten: the ten wait as if the many were few (scenario 25).

120 jobs here; `make scenarios` has 5,000. The control is a worker that takes whatever has waited longest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from activity.jobs.models import Job
from activity.jobs.services import job_start
from tenants.context import use_control, use_tenant
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef
from tests.faults.mid_job import worker
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")

FEW = 10


@pytest.fixture
def other(committed_tenant: TenantRef, django_db_blocker: DjangoDbBlocker) -> Iterator[TenantRef]:
    with django_db_blocker.unblock():
        ref, _ = provision_tenant(slug="few-jobs", name="Few jobs")
        yield ref
        with use_control():
            delete_tenant(ref)


def start(ref: TenantRef, count: int) -> None:
    with use_tenant(ref):
        for _ in range(count):
            job_start(kind="notes.write", params={"title": "turn", "count": 1, "pause": 0.05})


def waits(ref: TenantRef, count: int) -> list[float]:
    """How long each of the newest jobs waited, in seconds, the shortest first, once all of them have begun."""
    with use_tenant(ref):
        newest = Job.objects.order_by("-created_at")[:count].values("id")
        wait_for(lambda: not Job.objects.filter(pk__in=newest, started_at=None).exists(), timeout=120)
        found = Job.objects.filter(pk__in=newest).values_list("created_at", "started_at")
        return sorted((began - made).total_seconds() for made, began in found)


def throughput(ref: TenantRef) -> float:
    """Jobs a second, from the first one's start to the last one's end."""
    with use_tenant(ref), connection.cursor() as cursor:
        wait_for(lambda: not Job.objects.filter(finished_at=None).exists(), timeout=600)
        cursor.execute(
            "SELECT count(*) / extract(epoch FROM max(finished_at) - min(started_at)) FROM jobs_job"
            " WHERE started_at > (SELECT min(started_at) FROM jobs_job) - interval '1 hour'"
        )
        return float(cursor.fetchone()[0])


def run(many: TenantRef, few: TenantRef, folder: Path, application: str, count: int) -> tuple[float, float, float]:
    """The p95 (of ten: the longest) of the few jobs' waits on an idle worker, and behind the many; and jobs a second in all."""
    start(many, count)
    with use_control(), connection.cursor() as cursor:  # the many stay away while the idle wait is measured
        cursor.execute("UPDATE tenants_jobturn SET is_paused = true WHERE tenant_id = %s", [many.id])
        cursor.execute("UPDATE tenants_jobsummary SET due_at = 'infinity' WHERE tenant_id = %s", [many.id])
    with worker(folder, application):
        start(few, 1)
        waits(few, 1)  # the first one warms the process up
        start(few, FEW)
        idle = waits(few, FEW)[-1]
        with use_control(), connection.cursor() as cursor:
            cursor.execute("UPDATE tenants_jobsummary SET due_at = now() WHERE tenant_id = %s", [many.id])
            cursor.execute("UPDATE tenants_jobturn SET is_paused = false WHERE tenant_id = %s", [many.id])
        start(many, 1)
        with use_tenant(many):
            wait_for(lambda: Job.objects.filter(finished_at__isnull=False).count() > 10, what="the many run")
        start(few, FEW)
        with use_tenant(many):
            assert Job.objects.filter(finished_at=None).exists(), "the many ended too soon to prove anything"
        behind = waits(few, FEW)[-1]
        return idle, behind, throughput(many)


@pytest.mark.parametrize("count", [120, pytest.param(5_000, marks=pytest.mark.scenario)])
def test_the_few_wait_as_if_the_many_were_few(
    acme_entered: TenantRef, other: TenantRef, tmp_path: Path, count: int
) -> None:
    idle, behind, rate = run(acme_entered, other, tmp_path / "fair", "config", count)
    print(
        f"\n{count} jobs, then {FEW}: the longest wait {idle:.2f} s idle, {behind:.2f} s behind them; {rate:.1f} jobs/s"
    )
    assert behind <= 3 * idle


@pytest.mark.parametrize("count", [120, pytest.param(5_000, marks=pytest.mark.scenario)])
def test_first_in_first_out_lets_the_few_wait_for_the_many(
    acme_entered: TenantRef, other: TenantRef, tmp_path: Path, count: int
) -> None:
    """The control of the test above."""
    idle, behind, rate = run(acme_entered, other, tmp_path / "fifo", "tests.faults.first_in_first_out", count)
    print(
        f"\n{count} jobs, then {FEW}: the longest wait {idle:.2f} s idle, {behind:.2f} s behind them; {rate:.1f} jobs/s"
    )
    assert behind > 3 * idle
