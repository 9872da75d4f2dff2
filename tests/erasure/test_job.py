"""The job of an erasure: once for each person, whatever interrupts it; and again after every restore."""

from __future__ import annotations

import io
from typing import Any

import psycopg
import pytest
from django.db.models.functions import Now

from accounts.models import ImportedRow
from activity import mongo, reindex
from activity.erasure import index
from activity.erasure.errors import ErasureRefused
from activity.erasure.services import erase_subject, replay_erasures
from activity.errors import LogUnavailable
from activity.jobs.errors import HandedBack, UploadGone
from activity.jobs.models import Job
from activity.jobs.services import Input, job_retry, job_start
from activity.models import OutboxEvent
from tenants import subject_keys
from tenants.refs import TenantRef
from tenants.signals import tenant_deleted
from tests.erasure.conftest import ADA, MARKER, Erasing, control_database, sent


@pytest.fixture(autouse=True)
def keys_are_soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject_keys, "FRESH_FOR", 0.2)


def tombstones() -> int:
    return OutboxEvent.objects.filter(document__action="member.erased").count()


def test_asked_again_it_is_the_same_job(erasing: Erasing) -> None:
    erasing.send(sent())
    first = erase_subject(ADA)
    assert erase_subject(ADA).pk == first.pk
    erasing.run(first)
    assert erase_subject(ADA).pk == first.pk
    assert subject_keys.ledger(erasing.ref) == [subject_keys.digest(erasing.ref, ADA)]


def test_one_that_was_cancelled_is_begun_anew_with_no_second_tombstone(erasing: Erasing) -> None:
    first = erase_subject(ADA)
    Job.objects.filter(pk=first.pk).update(state="cancelled", finished_at=Now())
    assert erase_subject(ADA).pk != first.pk
    assert tombstones() == 1


def test_interrupted_it_goes_on_where_it_was(erasing: Erasing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WIDTH", 4)
    erasing.send(*(sent() for _ in range(10)))
    erasing.relay()
    calls: list[int] = []
    real = reindex.reindex

    def fails_once(ref: Any, subjects: Any, first: int, last: int) -> int:
        calls.append(first)
        if calls == [1, 5]:
            raise HandedBack(reason="the worker stops")
        return real(ref, subjects, first, last)

    monkeypatch.setattr(reindex, "reindex", fails_once)
    job = erasing.run(erase_subject(ADA))
    assert (job.state, job.checkpoint["first"]) == ("queued", 5)
    assert erasing.places() == ["mongo terms"]
    job = erasing.run(job)
    assert job.state == "succeeded"
    assert calls[:3] == [1, 5, 5]
    assert 1 not in calls[1:]
    assert erasing.places() == []


def test_what_a_failed_import_has_kept_goes_and_it_is_not_tried_again(erasing: Erasing) -> None:
    upload = Input(io.BytesIO(f"email\n{MARKER}@mia.example\n".encode()), "people.csv")
    failed = job_start(kind="notes.write", params={"title": "a", "count": 1}, upload=upload)
    Job.objects.filter(pk=failed.pk).update(state="failed", finished_at=Now(), error="It failed.")
    ImportedRow.objects.create(job_id=failed.pk, number=2, email=f"{MARKER}@mia.example")
    erasing.send(sent())
    erasing.relay()
    assert {"file", "tenant accounts_importedrow"} < set(erasing.places())
    assert erasing.run(erase_subject(ADA)).state == "succeeded"
    assert erasing.places() == []
    with pytest.raises(UploadGone, match=r"people\.csv"):
        job_retry(job=failed)


def test_while_the_log_is_away_it_waits(erasing: Erasing, monkeypatch: pytest.MonkeyPatch) -> None:
    erasing.send(sent())
    with monkeypatch.context() as away:

        def unavailable(*args: Any) -> int:
            raise LogUnavailable("AutoReconnect")

        away.setattr(reindex, "reindex", unavailable)
        job = erasing.run(erase_subject(ADA))
    assert (job.state, job.stalls) == ("queued", 0)
    assert erasing.run(job).state == "succeeded"
    assert erasing.places() == []


def test_it_waits_for_a_job_that_may_have_read_what_is_erased(erasing: Erasing) -> None:
    older = Job.objects.create(
        kind="members.export", actor={"type": "system", "id": "system", "name": ""}, state="running", started_at=Now()
    )
    job = erasing.run(erase_subject(ADA))
    assert job.state == "queued"
    Job.objects.filter(pk=older.pk).update(state="succeeded", finished_at=Now())
    assert erasing.run(job).state == "succeeded"


def test_what_is_recorded_of_them_later_is_born_erased(erasing: Erasing) -> None:
    erasing.send(sent())
    erasing.run(erase_subject(ADA))
    erasing.send(sent(action="order.late"))
    (row,) = OutboxEvent.objects.filter(document__action="order.late")
    assert set(row.document["actor"]["name"]["$personal"]) == {"subject"}
    erasing.relay()
    assert erasing.places() == []


def test_a_restore_replays_the_ledger(erasing: Erasing) -> None:
    """Everything is set back: the key, the ledger itself, and the index. The tombstone, which is in the log, tells of it."""
    erasing.send(sent())
    erasing.relay()
    digest = subject_keys.digest(erasing.ref, ADA)
    before = erasing.documents()
    with psycopg.connect(erasing.primary_url, dbname=control_database(), autocommit=True) as control:
        where = "owner = %s AND subject = %s"
        (key,) = control.execute(
            f"SELECT encrypted_key FROM tenants_subjectkey WHERE {where}", [erasing.ref.id, digest]
        ).fetchone()  # type: ignore[misc]
        erasing.run(erase_subject(ADA))
        assert erasing.places() == []
        control.execute(
            f"UPDATE tenants_subjectkey SET encrypted_key = %s WHERE {where}", [key, erasing.ref.id, digest]
        )
        control.execute(f"DELETE FROM tenants_erasure WHERE {where}", [erasing.ref.id, digest])
    for document in before:
        mongo.events().update_one({"_id": document["_id"]}, {"$set": {"terms": document["terms"]}})
    subject_keys.forget_all()
    assert erasing.words(MARKER)  # the control: it is all there again

    assert replay_erasures(erasing.ref) == 1
    assert erasing.places() == []
    assert erasing.words(MARKER) == []
    assert subject_keys.ledger(erasing.ref) == [digest]
    assert replay_erasures(erasing.ref) == 1  # again it changes nothing


def test_with_nobody_erased_there_is_nothing_to_replay(tenant: TenantRef) -> None:
    subject_keys.forget_owner(tenant)  # what other tests have committed to control
    assert replay_erasures(tenant) == 0


@pytest.mark.parametrize("subject", ["", "nobody", "User:7", "user:", ":7", "user:a\0b", f"user:{'x' * 201}"])
def test_nobody_is_erased_by_half_a_name(tenant: TenantRef, subject: str) -> None:
    with pytest.raises(ErasureRefused):
        erase_subject(subject)
    assert not Job.objects.exists()


def test_an_address_of_nobody_here_can_be_erased(erasing: Erasing) -> None:
    from accounts.services.invitations import invitation_send

    invitation_send(by=erasing.owner, email=f"{MARKER}@invited.example")
    erasing.relay()
    assert erasing.words(MARKER)
    erasing.run(erase_subject(f"address:{MARKER}@invited.example"))
    assert erasing.words(MARKER) == []
    assert "mongo terms" not in erasing.places()  # the invitation itself is a row of the tenant's, and stays


def test_a_deleted_tenants_keys_and_ledger_go_with_it(erasing: Erasing) -> None:
    erasing.send(sent())
    subject_keys.destroy(erasing.ref, ["0" * 32], by="test:1")
    with psycopg.connect(erasing.primary_url, dbname=control_database(), autocommit=True) as control:

        def rows() -> list[int]:
            tables = ("tenants_subjectkey", "tenants_erasure")
            return [
                control.execute(f"SELECT count(*) FROM {table} WHERE owner = %s", [erasing.ref.id]).fetchone()[0]  # type: ignore[index]
                for table in tables
            ]

        assert rows() == [3, 1]  # of digests, Ada's, and the one that was destroyed
        tenant_deleted.send(sender=None, tenant=erasing.ref)
        assert rows() == [0, 0]
