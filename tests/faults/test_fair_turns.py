"""One tenant starts many jobs, then another starts ten: the ten wait as if the many were few (scenario 25).

120 jobs here; `make scenarios` has 5,000, and holds the two ways beside each other. The control is a worker that takes whatever has
waited longest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Count, Max, Min
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
FAIR, FIRST_IN_FIRST_OUT = "config", "tests.faults.first_in_first_out"
PAUSE = 0.05  # seconds that a job takes
# Times the idle wait, while other tests run on the machine; at full size and alone it is 3.
BESIDE_OTHERS = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """The p95 (of ten: the longest) of the few jobs' waits on an idle worker and behind the many, in seconds; jobs a second in all."""

    idle: float
    behind: float
    rate: float

    def __str__(self) -> str:
        return f"the longest wait {self.idle:.2f} s idle, {self.behind:.2f} s behind them; {self.rate:.1f} jobs/s"


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
            job_start(kind="notes.write", params={"title": "turn", "count": 1, "pause": PAUSE})


def waits(ref: TenantRef, count: int) -> list[float]:
    """How long each of the newest jobs waited, in seconds, the shortest first, once all of them have begun."""
    with use_tenant(ref):
        newest = Job.objects.order_by("-created_at")[:count].values("id")
        wait_for(lambda: not Job.objects.filter(pk__in=newest, started_at=None).exists(), timeout=1200)
        found = Job.objects.filter(pk__in=newest).values_list("created_at", "started_at")
        return sorted((began - made).total_seconds() for made, began in found)


def throughput(many: TenantRef, few: TenantRef) -> float:
    """Jobs of both a second, from the start of the many's first one to the last one's end."""
    with use_tenant(many):
        wait_for(lambda: not Job.objects.filter(finished_at=None).exists(), timeout=1200)
        facts = Job.objects.aggregate(count=Count("id"), first=Min("started_at"), last=Max("finished_at"))
    with use_tenant(few):
        theirs = Job.objects.filter(started_at__gt=facts["first"]).aggregate(count=Count("id"), last=Max("finished_at"))
    last = max(facts["last"], theirs["last"])
    return float(facts["count"] + theirs["count"]) / float((last - facts["first"]).total_seconds())


def run(many: TenantRef, few: TenantRef, folder: Path, application: str, count: int) -> Measured:
    """Start the many, measure the few on a worker that doesn't see them yet, and again behind them."""
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
        measured = Measured(idle, behind, throughput(many, few))
        print(f"\n{application}: {count} jobs, then {FEW}: {measured}")
        return measured


def test_the_few_wait_as_if_the_many_were_few(acme_entered: TenantRef, other: TenantRef, tmp_path: Path) -> None:
    fair = run(acme_entered, other, tmp_path / "fair", FAIR, 120)
    assert fair.behind <= BESIDE_OTHERS * fair.idle


def test_first_in_first_out_lets_the_few_wait_for_the_many(
    acme_entered: TenantRef, other: TenantRef, tmp_path: Path
) -> None:
    """The control of the test above."""
    unfair = run(acme_entered, other, tmp_path / "fifo", FIRST_IN_FIRST_OUT, 120)
    assert unfair.behind > BESIDE_OTHERS * unfair.idle


@pytest.mark.scenario
def test_turns_beside_first_in_first_out(acme_entered: TenantRef, other: TenantRef, tmp_path: Path) -> None:
    """5,000 jobs."""
    fair = run(acme_entered, other, tmp_path / "fair", FAIR, 5_000)
    for ref in (acme_entered, other):
        with use_tenant(ref):
            Job.objects.all().delete()
    unfair = run(acme_entered, other, tmp_path / "fifo", FIRST_IN_FIRST_OUT, 5_000)
    print(f"\nwaits {unfair.behind / fair.behind:.0f} times shorter; throughput {fair.rate / unfair.rate:.2f} times")
    assert fair.behind <= 3 * fair.idle
    assert fair.behind <= unfair.behind / 50
    assert fair.rate >= 0.95 * unfair.rate
