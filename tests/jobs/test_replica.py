"""An export reads from a replica that has what was committed before it, and again from the primary when an attempt was broken off."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import exports
from accounts.models import User
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.services import job_start
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, lasting_tenant  # noqa: F401  fixtures


@pytest.fixture
def no_files_left() -> None:
    """In the place of the one that needs the tenants of a test's transaction: a replica sees what is committed alone."""


@pytest.fixture
def ref(lasting_tenant: LastingTenant) -> TenantRef:  # noqa: F811
    return lasting_tenant()


@pytest.fixture
def aliases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The databases that members are copied from."""
    found: list[str] = []
    whole = exports.copy_blocks

    def copy_blocks(*args: Any, alias: str, **options: Any) -> Any:
        found.append(alias)
        return whole(*args, alias=alias, **options)

    monkeypatch.setattr(exports, "copy_blocks", copy_blocks)
    return found


def test_it_reads_from_a_replica_and_sees_what_was_written_just_before(ref: TenantRef, aliases: list[str]) -> None:
    with use_tenant(ref):
        for number in range(3):
            User.objects.create_user(f"late{number}@example.com")
            job = job_start(kind="members.export", params={"q": "late"})
            run_job(job.pk)
            assert Job.objects.get(pk=job.pk).counts == {"rows": number + 1}
    assert any("@" in alias for alias in aliases), aliases


def test_a_second_attempt_reads_from_the_primary(ref: TenantRef, aliases: list[str]) -> None:
    with use_tenant(ref):
        job = job_start(kind="members.export")
        Job.objects.filter(pk=job.pk).update(attempt=1)
        run_job(job.pk)
        assert Job.objects.get(pk=job.pk).state == "succeeded"
    assert aliases == [ref.alias]
