"""What apps test their own kinds with."""

from __future__ import annotations

from typing import Any

import pytest

from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.services import job_start
from activity.jobs.testing import job_dies, job_done, job_run
from tenants.refs import TenantRef
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture
from tests.notes.models import Note


def bodies(title: str) -> list[int]:
    return sorted(int(body) for body in Note.objects.filter(title=title).values_list("body", flat=True))


def test_a_job_is_run(tenant: TenantRef) -> None:
    job = job_done("notes.write", title="whole", count=3)
    assert (job.state, job.done, bodies("whole")) == ("succeeded", 3, [0, 1, 2])


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_worker_dies_and_the_next_goes_on(tenant: TenantRef, steps: int) -> None:
    job = job_start(kind="notes.write", params={"title": "cut", "count": 5})
    job = job_dies(job, after_steps=steps)
    assert (job.state, job.done, bodies("cut")) == ("running", steps, list(range(steps)))
    job = job_run(job)
    assert (job.state, job.attempt, bodies("cut")) == ("succeeded", 2, [0, 1, 2, 3, 4])


def test_a_kind_that_forgets_where_it_was_is_found_out(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    """The control of the test above."""

    def forgetful(run: Run, params: Any) -> None:
        for number in range(3):
            with run.step():
                Note.objects.create(title="forgotten", body=str(number))
                run.saved = {"next": 0}

    job = job_dies(job_start(kind=kinds.add(forgetful)), after_steps=2)
    job_run(job)
    assert bodies("forgotten") == [0, 0, 1, 1, 2]


def test_a_kind_that_ends_before_is_told(tenant: TenantRef) -> None:
    job = job_start(kind="notes.write", params={"title": "short", "count": 1})
    with pytest.raises(AssertionError, match="ended before it had made 2 steps"):
        job_dies(job, after_steps=2)
    assert Job.objects.get(pk=job.pk).state == "running"
