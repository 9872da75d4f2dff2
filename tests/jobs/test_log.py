"""A job's log: what its kind notes, and what becomes of it; bounded, by cursor, for whoever may start the job."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from activity.jobs import lease, lines
from activity.jobs.errors import HandedBack, JobFailed, LeaseLost
from activity.jobs.models import Job, JobLine
from activity.jobs.run import Run
from activity.jobs.runner import INTERRUPTED, run_job
from activity.jobs.services import job_cancel, job_retry, job_start
from activity.jobs.testing import job_dies, job_run
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import Lasting, run
from tests.jobs.kinds import Kinds, Raise, kinds, lose_the_database, losing_is_survived  # noqa: F401  fixtures


def log_of(job: Job) -> list[str]:
    return list(JobLine.objects.filter(job=job).order_by("id").values_list("sentence", flat=True))


def talking(run: Run, params: Any) -> None:
    run.note("Reading.")
    with run.step():
        run.note("One row has no date.", level="warning")
        run.saved = {"next": 1}
    run.note("Done.")


def test_what_a_kind_notes(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(talking))
    run_job(job.pk)
    assert log_of(job) == ["Attempt 1 began.", "Reading.", "One row has no date.", "Done.", "It succeeded."]
    assert JobLine.objects.get(job=job, sentence="One row has no date.").level == "warning"


def test_a_note_goes_with_its_step(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    def fails(run: Run, params: Any) -> None:
        with run.step():
            run.note("Never said.")
            raise JobFailed("No paper.")

    job = job_start(kind=kinds.add(fails))
    run_job(job.pk)
    assert log_of(job) == ["Attempt 1 began.", "No paper."]
    assert JobLine.objects.filter(job=job).last().level == "error"  # type: ignore[union-attr]


def test_who_has_lost_the_job_notes_nothing(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(talking))
    mine = lease.claim(job.pk)
    assert mine is not None
    Job.objects.filter(pk=job.pk).update(attempt=2)
    with pytest.raises(LeaseLost):
        Run(mine).note("Late.")
    assert "Late." not in log_of(job)


def test_what_becomes_of_it(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    def steps(run: Run, params: Any) -> None:
        with run.step():
            run.saved = {"next": 1}
        if run.job.attempt == 2:
            raise HandedBack(reason="worker stopping")
        if run.job.attempt == 3:
            raise JobFailed("No paper.")

    job = job_start(kind=kinds.add(steps))
    job_dies(job, after_steps=1)
    for _ in range(2):
        job_run(job)
    job_retry(job=job)
    job_cancel(job=job)
    assert log_of(job) == [
        "Attempt 1 began.",
        "Attempt 2 began: the worker of the one before was lost.",
        "Handed back (worker stopping): another worker goes on.",
        "Attempt 3 began.",
        "No paper.",
        "It is to be tried again, from where it was.",
        "It was cancelled.",
    ]


@pytest.mark.usefixtures("losing_is_survived")
def test_interruptions_and_a_quarantine(lasting: Lasting, kinds: Kinds) -> None:  # noqa: F811
    with use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(lose_the_database))
    for _ in range(4):
        run(lasting.ref, job.pk)
    with use_tenant(lasting.ref):
        assert log_of(job)[1:-1:2] == [INTERRUPTED] * 3
        assert set(JobLine.objects.filter(job=job, sentence=INTERRUPTED).values_list("level", flat=True)) == {"warning"}
        assert log_of(job)[-1].startswith("It was started 3 times in a row without any progress")


def test_the_newest_lines_are_kept(tenant: TenantRef, kinds: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(lines, "MOST", 10)

    def chatter(run: Run, params: Any) -> None:
        for number in range(3):
            with run.step():
                for line in range(8):
                    run.note(f"{number}.{line}")
                run.saved = {"next": number}

    other, job = job_start(kind=kinds.add(talking)), job_start(kind=kinds.add(chatter))
    run_job(other.pk)
    run_job(job.pk)
    assert log_of(job) == ["1.7", *(f"2.{line}" for line in range(8)), "It succeeded."]
    assert len(log_of(other)) == 5


def test_what_postgres_can_not_hold(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: run.note("a\0b\ud800" + "x" * 600)))
    run_job(job.pk)
    assert log_of(job)[1] == ("a b?" + "x" * 600)[:500]


def test_by_cursor(api: ApiOf, owner: User, acme: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    with use_tenant(acme):
        job = job_start(kind=kinds.add(talking))
        run_job(job.pk)
    first = api(owner).get(f"/jobs/{job.pk}/log?limit=3").json()
    rest = api(owner).get(f"/jobs/{job.pk}/log?cursor={first['next']}").json()
    found = first["items"] + rest["items"]
    assert [line["sentence"] for line in found] == [
        "Attempt 1 began.", "Reading.", "One row has no date.", "Done.", "It succeeded.",
    ]  # fmt: skip
    assert [line["level"] for line in found] == ["info", "info", "warning", "info", "info"]
    assert (len(first["items"]), rest["next"]) == (3, None)
    assert api(owner).get(f"/jobs/{job.pk}/log?cursor=x").status_code == 422
    assert api(owner).get(f"/jobs/{job.pk}/log?limit=501").status_code == 422


def test_whoever_may_not_start_it_does_not_read_it(
    api: ApiOf, signed_in: SignedIn, owner: User, viewer: User, stranger: User, acme: TenantRef, globex: TenantRef,
    kinds: Kinds,  # noqa: F811
) -> None:  # fmt: skip
    with use_tenant(acme):
        job = job_start(kind=kinds.add(talking))
        run_job(job.pk)
    assert api(viewer).get(f"/jobs/{job.pk}/log").status_code == 403
    assert api(stranger, globex).get(f"/jobs/{job.pk}/log").status_code == 404
    assert "One row has no date." in signed_in(owner).get(f"/jobs/{job.pk}").content.decode()
    assert "One row has no date." not in signed_in(viewer).get(f"/jobs/{job.pk}").content.decode()
