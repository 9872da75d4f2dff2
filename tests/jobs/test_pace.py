"""A job's rate and the time that it has left, by what it has done lately."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from activity.jobs import pace
from activity.jobs.models import Job
from activity.jobs.pace import Pace
from activity.jobs.run import Run
from activity.jobs.runner import run_job
from activity.jobs.services import job_start
from tenants.refs import TenantRef
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def test_it_goes_by_the_last_ten_seconds(clock: Clock) -> None:
    measured, done = Pace(500), 500
    for _ in range(40):  # 10 rows a second, for 20 seconds
        clock.now += 0.5
        done += 5
        slow = measured.rate(done)
    for _ in range(40):  # then 1,000
        clock.now += 0.5
        done += 500
        fast = measured.rate(done)
    assert slow == pytest.approx(10)
    assert fast == pytest.approx(1000)


def test_it_says_nothing_at_first_nor_while_nothing_goes_forward(clock: Clock) -> None:
    measured = Pace(0)
    clock.now += 0.5
    assert measured.rate(1000) is None
    clock.now += 0.6
    assert measured.rate(1000) == pytest.approx(1000 / 1.1)
    clock.now += 30
    measured.rate(1000)
    clock.now += 11
    assert measured.rate(1000) is None


def test_thousands_of_steps_a_second_are_a_few_marks(clock: Clock) -> None:
    measured = Pace(0)
    for done in range(20_000):
        clock.now += 0.001
        measured.rate(done)
    assert len(measured._marks) <= pace.LATELY / pace.MARK_EVERY + 2


def test_the_row_has_it_while_somebody_is_at_work(tenant: TenantRef, kinds: Kinds, clock: Clock) -> None:  # noqa: F811
    seen: list[Job] = []

    def works(run: Run, params: Any) -> None:
        run.total = 500
        for number in range(2):
            clock.now += 1
            with run.step():
                run.done, run.saved = 100 * (number + 1), {"next": number}
        seen.append(Job.objects.get(pk=run.job.pk))

    job = job_start(kind=kinds.add(works))
    run_job(job.pk)
    [running] = seen
    assert (running.rate_now, running.seconds_left) == (pytest.approx(100), 3)
    running.lease_until = timezone.now() - timedelta(seconds=1)  # its worker died
    assert (running.rate_now, running.seconds_left) == (None, None)
    ended = Job.objects.get(pk=job.pk)
    assert (ended.rate, ended.seconds_left) == (None, None)
