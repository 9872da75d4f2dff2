"""An attempt lasts as long as its kind may; then the job fails, with what it did, and a retry goes on from there."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from activity.context import SYSTEM
from activity.jobs import heartbeat, lease, summaries
from activity.jobs.kinds import RunKind
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.runner import run_job
from activity.jobs.services import job_retry
from tenants.context import use_tenant
from tenants.db.copying import copy_rows
from tests.jobs.conftest import Lasting, lasting  # noqa: F401  a fixture
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture
from tests.notes.models import Note

LONG = 30.0  # seconds, which nobody waits for


def in_steps(run: Run, params: Any) -> None:
    """A step at once, and then waiting, outside of a step, for as long as it may; a second attempt ends at once."""
    if run.saved:
        return
    with run.step():
        Note.objects.create(title="limited", body="")
        run.done, run.saved = 1, {"next": 1}
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        run.check()
        time.sleep(0.01)


def in_one_statement(run: Run, params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [LONG])


def in_one_copy(run: Run, params: Any) -> None:
    """Which is on a connection of its own."""
    list(copy_rows(f"COPY (SELECT pg_sleep({LONG})) TO STDOUT"))


@pytest.fixture
def quick(lasting: Lasting, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: F811
    """Within the lasting tenant, whose rows the heartbeat sees; it looks often."""
    monkeypatch.setattr(heartbeat, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(summaries, "tell", lambda job, **_: None)  # this test's transaction in control would hold it up
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        yield


pytestmark = pytest.mark.usefixtures("quick")


def start(kind: str) -> Job:
    job = Job.objects.create(kind=kind, actor=asdict(SYSTEM))
    return Job.objects.get(pk=job.pk)


def test_it_fails_with_a_sentence_and_keeps_what_it_did(kinds: Kinds) -> None:  # noqa: F811
    job = start(kinds.add(in_steps, time_limit=0.3))
    started = time.monotonic()
    assert run_job(job.pk) == "failed"
    assert 0.3 <= time.monotonic() - started < 5
    job = Job.objects.get(pk=job.pk)
    assert job.error.startswith("It was stopped after 0.3 s, which is as long as it may run at once.")
    assert (job.done, Note.objects.filter(title="limited").count()) == (1, 1)
    job_retry(job=job)
    assert run_job(job.pk) == "succeeded"
    assert Note.objects.filter(title="limited").count() == 1


@pytest.mark.parametrize("work", [in_one_statement, in_one_copy])
def test_a_long_statement_is_interrupted(kinds: Kinds, work: RunKind[Any]) -> None:  # noqa: F811
    started = time.monotonic()
    job = start(kinds.add(work, time_limit=0.3))
    assert run_job(job.pk) == "failed"
    assert time.monotonic() - started < 5
    assert Job.objects.get(pk=job.pk).error.startswith("It was stopped after 0.3 s")


@pytest.mark.parametrize(("of_kind", "ends"), [(None, "failed"), (60, "succeeded")])
def test_the_kind_s_own_limit_comes_before_the_setting(
    kinds: Kinds, settings: Any, of_kind: float | None, ends: str  # noqa: F811
) -> None:  # fmt: skip
    settings.JOB_TIME_LIMIT = 0.3

    def wait(run: Run, params: Any) -> None:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            run.check()
            time.sleep(0.01)

    assert run_job(start(kinds.add(wait, time_limit=of_kind)).pk) == ends


def slow(run: Run, params: Any) -> None:
    """Work that doesn't look up for longer than a lease, behind the limit too; then a statement."""
    time.sleep(1.5)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [LONG])


def test_nobody_else_has_it_until_its_kind_has_heard_of_it(
    kinds: Kinds,  # noqa: F811
    lasting: Lasting,  # noqa: F811
    settings: Any,
) -> None:
    settings.JOB_LEASE = 0.6
    job = start(kinds.add(slow, time_limit=0.2))
    claimed: list[Job | None] = []

    def others() -> None:
        with use_tenant(lasting.ref):
            for _ in range(8):
                time.sleep(0.15)
                claimed.append(lease.claim(job.pk))

    other = threading.Thread(target=others)
    other.start()
    started = time.monotonic()
    state = run_job(job.pk)
    other.join()
    assert claimed == [None] * 8
    assert state == "failed"
    assert time.monotonic() - started < 5  # the statement that began behind the limit was interrupted too
    assert Job.objects.get(pk=job.pk).attempt == 1
