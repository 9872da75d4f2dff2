"""An import whose database went away goes on behind the last batch that was committed."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage

from accounts.imports import job as imports
from activity.jobs.models import Job
from tenants.context import use_tenant
from tests.accounts.conftest import Api
from tests.jobs.conftest import Lasting, events_of, members, problems, run, send
from tests.jobs.kinds import lose_the_database, losing_is_survived  # noqa: F401  a fixture

pytestmark = pytest.mark.usefixtures("losing_is_survived")

FILE = "email,name\n" + "".join(f"p{number}@example.com,P{number}\n" for number in range(6)) + "P0@example.com,Again\n"


def test_each_row_is_taken_once(lasting: Lasting, lasting_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    taken: list[int] = []
    take = imports._take

    def take_and_lose(run: Any, batch: Any, *facts: Any) -> None:
        take(run, batch, *facts)
        taken.extend(int(line.split("\t")[1]) for line in batch.good)
        if len(taken) in {4, 8}:
            lose_the_database()

    monkeypatch.setattr(imports, "_take", take_and_lose)
    job_id = send(lasting_api, FILE).json()["id"]
    states = []
    for _ in range(3):
        job = run(lasting.ref, job_id)
        states.append((job.state, job.done, job.counts.get("created", 0)))
    assert states == [("queued", 2, 2), ("queued", 4, 4), ("succeeded", 7, 6)]
    assert taken == [2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8]  # what had not committed is done anew, and nothing else
    assert job.counts == {"created": 6, "updated": 0, "unchanged": 0, "refused": 1}
    assert problems(lasting.ref, job) == [
        (8, "email", "P0@example.com", "Row 2 has this address already; the first one counts.")
    ]
    assert {f"p{number}@example.com" for number in range(6)} < set(members(lasting.ref))
    assert [event["action"] for event in events_of(lasting.ref, job_id)] == ["job.started", "job.succeeded"]


def test_the_file_is_kept_until_the_job_has_ended(
    lasting: Lasting, lasting_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = send(lasting_api, FILE).json()["id"]
    with monkeypatch.context() as patched:
        patched.setattr(imports, "_take", lose_the_database)
        assert run(lasting.ref, job_id).state == "queued"
    with use_tenant(lasting.ref):
        name = Job.objects.get(pk=job_id).input_file
        assert default_storage.exists(name)
    assert run(lasting.ref, job_id).state == "succeeded"
    with use_tenant(lasting.ref):
        assert not default_storage.exists(name)


def test_no_step_is_open_while_rows_are_read(
    lasting: Lasting, lasting_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres ends a transaction in which nothing happens for as long as a lease: reading may take longer."""
    read, opened = imports._read, []

    def note(run: Any, *facts: Any) -> Any:
        opened.append(run._is_in_step)
        return read(run, *facts)

    monkeypatch.setattr(imports, "_read", note)
    assert run(lasting.ref, send(lasting_api, FILE).json()["id"]).state == "succeeded"
    assert opened == [False]
