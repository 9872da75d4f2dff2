"""Files that jobs made go by their age and by the plan's quota, the oldest first, the newest never."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.files import File
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.models import User
from activity.jobs import cleanup, files
from activity.jobs.models import Job
from activity.jobs.services import job_start
from activity.jobs.tasks import prune
from tenants import context
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def plans(settings: Any, acme: TenantRef, owner: User) -> None:
    settings.JOB_FILES_DAYS = {acme.plan: 7}
    settings.JOB_FILES_MB = {acme.plan: 3}


def finished(days: float, size: int = 10) -> Job:
    """A job that ended so many days ago, with a file."""
    job = job_start(kind="members.export")
    name = files.save_result(job, File(io.BytesIO(b"x" * size)))
    Job.objects.filter(pk=job.pk).update(
        state="succeeded",
        result_file=name,
        result_name="members.csv",
        finished_at=timezone.now() - timedelta(days=days),
    )
    return Job.objects.get(pk=job.pk)


def kept(*jobs: Job) -> list[bool]:
    """Which of them still have their file, and say so."""
    found = []
    for job in jobs:
        now = Job.objects.get(pk=job.pk)
        assert default_storage.exists(job.result_file) == bool(now.result_file)
        assert (now.result_removed_at is None) == bool(now.result_file)
        assert now.result_name == "members.csv"
        found.append(bool(now.result_file))
    return found


def test_a_file_goes_after_its_plans_days(acme: TenantRef) -> None:
    with use_tenant(acme):
        old, young = finished(7.1), finished(6.9)
        assert cleanup.results_prune() == 1
        assert kept(old, young) == [False, True]
        assert cleanup.results_prune() == 0


def test_over_the_quota_the_oldest_go_and_those_that_fit_stay(acme: TenantRef) -> None:
    with use_tenant(acme):
        jobs = [finished(days, MIB) for days in (5, 4, 3, 2, 1)]
        assert cleanup.results_prune() == 2
        assert kept(*jobs) == [False, False, True, True, True]


def test_the_newest_stays_however_large_it_is(acme: TenantRef) -> None:
    with use_tenant(acme):
        old, newest = finished(2), finished(1, 4 * MIB)
        assert cleanup.results_prune() == 1
        assert kept(old, newest) == [False, True]


def test_a_plan_that_is_not_named_keeps_all(acme: TenantRef, settings: Any) -> None:
    """The control of the others."""
    settings.JOB_FILES_DAYS = settings.JOB_FILES_MB = {}
    with use_tenant(acme):
        jobs = finished(29, 4 * MIB), finished(1, MIB)
        assert cleanup.results_prune() == 0
        assert kept(*jobs) == [True, True]


def test_another_tenants_files_stay(acme: TenantRef, tenants: dict[str, TenantRef]) -> None:
    other = next(ref for ref in tenants.values() if ref.id != acme.id)
    with use_tenant(other):
        theirs = finished(6)
    with use_tenant(acme):
        mine = finished(8)
        assert cleanup.results_prune() == 1
        assert kept(mine) == [False]
    with use_tenant(other):
        assert kept(theirs) == [True]


def test_control_has_no_plan(settings: Any) -> None:
    with context.use_control():
        assert cleanup.results_prune() == 0


def test_the_daily_upkeep_does_it(acme: TenantRef) -> None:
    with use_tenant(acme):
        old = finished(8)
        prune.run()
        assert kept(old) == [False]


def test_the_api_offers_no_file_that_was_removed(acme: TenantRef, api: ApiOf, owner: User) -> None:
    with use_tenant(acme):
        old = finished(8)
        cleanup.results_prune()
    asking: Api = api(owner)
    job = asking.get(f"/jobs/{old.pk}").json()
    assert job["result_url"] is None
    assert job["result_removed_at"] is not None
    assert asking.get(f"/jobs/{old.pk}/result").status_code == 404
