"""How an attempt ends: what is tried again, what is given up, and what is never tried."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import User
from activity.jobs import lease, shutdown
from activity.jobs.errors import HandedBack
from activity.jobs.errors import JobFailed as CannotBeDone
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.runner import NO_LONGER_ALLOWED, OUT_OF_TIME, STALLED, run_job
from activity.jobs.services import job_start
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.jobs.conftest import Lasting, events_of, members, run, send
from tests.jobs.kinds import Kinds, Raise, kinds, lose_the_database, losing_is_survived  # noqa: F401  fixtures

FILE = "email\nann@example.com\n"


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until="2000-01-01T00:00:00Z")


def test_after_three_attempts_without_progress_it_is_given_up(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(lambda run, params: pytest.fail("it must not run")))
    for _ in range(3):
        assert lease.claim(job.pk) is not None  # and its worker dies
        expire(job)
    job = run(tenant, job.pk)
    assert (job.state, job.attempt, job.error) == ("failed", 4, STALLED)
    assert "3 times in a row" in STALLED
    assert [event["action"] for event in events_of(tenant, job.pk)] == ["job.started", "job.failed"]


def test_after_two_it_is_tried_again(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    """The control of the test above."""
    job = job_start(kind=kinds.add(lambda run, params: None))
    for _ in range(2):
        assert lease.claim(job.pk) is not None
        expire(job)
    assert run(tenant, job.pk).state == "succeeded"


@pytest.mark.usefixtures("losing_is_survived")
def test_a_database_that_goes_away_is_waited_for_and_given_up_after_three_times(
    lasting: Lasting,
    kinds: Kinds,  # noqa: F811
) -> None:
    with use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(lose_the_database))
    assert [run(lasting.ref, job.pk).state for _ in range(4)] == ["queued", "queued", "queued", "failed"]
    with use_tenant(lasting.ref):
        assert Job.objects.get(pk=job.pk).error == STALLED


@pytest.mark.usefixtures("losing_is_survived")
def test_progress_gives_three_attempts_more(lasting: Lasting, kinds: Kinds) -> None:  # noqa: F811
    def work(run: Run, params: Any) -> None:
        if run.job.attempt == 3:
            with run.step():
                run.done += 1
        lose_the_database()

    with use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(work))
    states = [run(lasting.ref, job.pk).state for _ in range(7)]
    assert states == ["queued"] * 6 + ["failed"]
    with use_tenant(lasting.ref):
        assert Job.objects.get(pk=job.pk).done == 1


@pytest.mark.parametrize(("is_kept", "state"), [(False, "failed"), (True, "succeeded")])
def test_what_is_only_reported_is_no_progress(tenant: TenantRef, kinds: Kinds, is_kept: bool, state: str) -> None:  # noqa: F811
    """It is begun anew by the next attempt, for ever. Unless something is saved with it, as by a walk that goes on from there."""
    job = job_start(kind=kinds.add(lambda run, params: None))
    for number in range(1, 4):
        claimed = lease.claim(job.pk)
        assert claimed is not None
        run_of = Run(claimed)
        run_of.done, run_of._reported_at = number, 0.0
        if is_kept:
            run_of.saved = {"place": number}
        run_of.report()
        assert Job.objects.get(pk=job.pk).done == number
        expire(job)
    assert run(tenant, job.pk).state == state


@pytest.mark.usefixtures("losing_is_survived")
def test_a_statement_that_took_too_long_is_told_as_such(lasting: Lasting, kinds: Kinds) -> None:  # noqa: F811
    def work(run: Run, params: Any) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 50; SELECT pg_sleep(10)")

    with use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(work))
    job = run(lasting.ref, job.pk)
    assert (job.state, job.stalls) == ("queued", 1)
    with use_tenant(lasting.ref):
        assert OUT_OF_TIME in job.lines.values_list("sentence", flat=True)


def test_what_was_handed_back_does_not_count(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(Raise(HandedBack(reason="worker stopping"))))
    assert [run(tenant, job.pk).state for _ in range(8)] == ["queued"] * 8
    now = Job.objects.get(pk=job.pk)
    assert (now.attempt, now.stalls) == (8, 0)


def test_a_kinds_own_word_ends_it_at_once(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    job = job_start(kind=kinds.add(Raise(CannotBeDone("The moon is full."))))
    job = run(tenant, job.pk)
    assert (job.state, job.attempt, job.error) == ("failed", 1, "The moon is full.")


def test_parameters_that_a_release_no_longer_takes_fail_it_with_a_sentence(tenant: TenantRef) -> None:
    job = job_start(kind="notes.write", params={"title": "x", "count": 1})
    Job.objects.filter(pk=job.pk).update(params={"title": "x", "count": "many"})
    job = run(tenant, job.pk)
    assert job.state == "failed"
    assert "params.count" in job.error


def test_a_kind_that_a_release_no_longer_has_fails_it_with_a_sentence(tenant: TenantRef, kinds: Kinds) -> None:  # noqa: F811
    name = kinds.add(lambda run, params: None)
    job = job_start(kind=name)
    kinds.remove(name)
    job = run(tenant, job.pk)
    assert job.state == "failed"
    assert "no kind of job" in job.error


@pytest.mark.parametrize(
    "changes", [{"is_active": False}, {"role": "viewer"}, None], ids=["deactivated", "demoted", "removed"]
)
def test_a_starter_who_lost_the_right_meanwhile_changes_nothing(
    api: ApiOf, admin: User, acme: TenantRef, changes: dict[str, Any] | None
) -> None:
    job_id = send(api(admin), FILE).json()["id"]
    with use_tenant(acme):
        person = User.objects.filter(pk=admin.pk)
        person.delete() if changes is None else person.update(**changes)
    job = run(acme, job_id)
    assert (job.state, job.error) == ("failed", NO_LONGER_ALLOWED)
    assert "ann@example.com" not in members(acme)
    assert events_of(acme, job_id)[-1]["action"] == "job.failed"


def test_a_starter_with_another_role_that_has_the_right_is_heard(
    api: ApiOf, admin: User, owner: User, acme: TenantRef
) -> None:
    """The control of the test above."""
    job_id = send(api(admin), FILE).json()["id"]
    with use_tenant(acme):
        User.objects.filter(pk=admin.pk).update(role="owner")
    assert run(acme, job_id).state == "succeeded"


def test_a_job_of_another_tenant_is_not_run_here(api: ApiOf, admin: User, acme: TenantRef, globex: TenantRef) -> None:
    job_id = send(api(admin), FILE).json()["id"]
    with use_tenant(globex):
        assert run_job(job_id) is None
    with use_tenant(acme):
        assert Job.objects.get(pk=job_id).state == "queued"


def test_shutdown_is_asked_for_and_withdrawn() -> None:
    assert not shutdown.is_asked_for()
    try:
        shutdown.ask()
        assert shutdown.is_asked_for()
    finally:
        shutdown.withdraw()
    assert not shutdown.is_asked_for()
