"""What becomes of a job's files when something goes wrong: none that anybody needs is gone, and none that nobody needs stays."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, transaction
from pytest_django import DjangoDbBlocker

from activity.erasure import forget
from activity.jobs import files, services
from activity.jobs.errors import HandedBack
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.runner import run_job
from activity.jobs.services import Input, job_start
from tenants import disk
from tenants.context import use_control, use_tenant
from tenants.models import Tenant
from tenants.refs import TenantRef
from tests.jobs.conftest import Lasting, lasting, run  # noqa: F401  a fixture
from tests.jobs.kinds import Kinds, kinds, losing_is_survived  # noqa: F401  fixtures


@pytest.mark.usefixtures("losing_is_survived")
def test_a_result_of_an_attempt_that_did_not_finish_goes(lasting: Lasting, kinds: Kinds) -> None:  # noqa: F811
    """Nobody could have it, and an erasure wouldn't find it: the first two have written it when they must end."""

    def work(run: Run, params: Any) -> None:
        with run.writing_result("made.txt") as file:
            file.write(b"made")
        if run.job.attempt == 1:
            raise HandedBack(reason="the worker stops")
        if run.job.attempt == 2:
            raise OperationalError("the database is away")

    with use_tenant(lasting.ref):
        job = job_start(kind=kinds.add(work))
    left = []
    for _ in range(3):
        job = run(lasting.ref, job.pk)
        with use_tenant(lasting.ref):
            left.append(sorted(disk.file_names(f"jobs/{job.pk}")))
    assert left == [[], [f"jobs/{job.pk}/result-2"], [f"jobs/{job.pk}/result-3"]]
    assert (job.state, job.result_file) == ("succeeded", f"jobs/{job.pk}/result-3")


@pytest.mark.parametrize(
    ("state", "left"), [("succeeded", []), ("cancelled", []), ("running", ["input", "part-1-0", "result-1"])]
)
def test_an_erasure_finds_what_a_kill_has_left_of_a_job(
    tenant: TenantRef,
    kinds: Kinds,  # noqa: F811
    state: str,
    left: list[str],
) -> None:
    """Its worker died between its end and the clean-up. One that runs is waited for."""
    job = job_start(kind=kinds.add(lambda run, params: None))
    Job.objects.filter(pk=job.pk).update(state=state, attempt=1, done=7)
    for name in ("input", "part-1-0", "result-1"):
        default_storage.save(f"jobs/{job.pk}/{name}", io.BytesIO(b"ann@example.com"))
    with transaction.atomic():
        forget.forget([])
    assert list(disk.file_names(f"jobs/{job.pk}")) == [f"jobs/{job.pk}/{name}" for name in left]
    assert Job.objects.get(pk=job.pk).done == 7
    files.delete_all(job.pk)


def test_an_erasure_reads_and_locks_no_job_that_ended_and_has_no_files(
    tenant: TenantRef,
    kinds: Kinds,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenant has the jobs of a month, and a storage may ask a server for each folder."""
    looked_at: list[Job] = []
    monkeypatch.setattr(files, "forget_made", looked_at.append)
    with_files, without = (job_start(kind=kinds.add(lambda run, params: None)) for _ in range(2))
    Job.objects.update(state="succeeded", attempt=1)
    for name in (f"{with_files.pk}/result-1", "waiting/people.csv"):
        default_storage.save(f"jobs/{name}", io.BytesIO(b"ann@example.com"))
    with transaction.atomic():
        forget.forget([])
    assert looked_at == [with_files]
    assert without.pk not in files.jobs_with_files()
    default_storage.delete("jobs/waiting/people.csv")
    files.delete_all(with_files.pk)


@pytest.mark.parametrize("state", ["suspended", "deleting", "active"])
@pytest.mark.usefixtures("untold_turns")
def test_a_tenant_that_was_deleted_meanwhile_gets_no_file_again(
    lasting: Lasting, django_db_blocker: DjangoDbBlocker, state: str  # noqa: F811
) -> None:  # fmt: skip
    """Its folder goes while the file is made. The control is a tenant that is served."""
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        job = job_start(kind="members.export")

        def become(state: str) -> None:
            with use_control():
                Tenant.objects.filter(pk=lasting.ref.id).update(state=state)

        become(state)
        try:
            if state == "active":
                assert default_storage.exists(files.save_part(job, 0, io.BytesIO(b"part")))
            else:
                with pytest.raises(HandedBack):
                    files.save_part(job, 0, io.BytesIO(b"part"))
                assert not list(disk.file_names(f"jobs/{job.pk}"))
        finally:
            become("active")
            files.delete_all(job.pk)


@pytest.mark.parametrize("has_committed", [True, False])
@pytest.mark.usefixtures("untold_turns")
def test_an_upload_stays_for_a_job_whose_commit_was_not_heard_of(
    lasting: Lasting,  # noqa: F811
    kinds: Kinds,  # noqa: F811
    django_db_blocker: DjangoDbBlocker,
    monkeypatch: pytest.MonkeyPatch,
    has_committed: bool,
) -> None:
    """The connection broke behind COMMIT. The control is an error that Postgres told of."""
    seen: list[Job] = []
    insert = services._insert

    def work(run: Run, params: Any) -> None:
        with run.input() as file:
            assert file.read() == b"data"

    def lose(job: Job) -> Job | None:
        seen.append(job)
        if not has_committed:
            raise ValueError("refused")
        insert(job)
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(services, "_insert", lose)
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        with pytest.raises(OperationalError if has_committed else ValueError):
            job_start(kind=kinds.add(work), upload=Input(io.BytesIO(b"data"), "data.txt"))
        (job,) = seen
        assert default_storage.exists(job.input_file) == has_committed
        if has_committed:
            assert run_job(job.pk) == "succeeded"
