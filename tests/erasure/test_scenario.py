"""Scenario 35: erase a person, and the plaintext of what was recorded of them is nowhere, while everybody else is there as before."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts.services.members import member_create, member_remove, member_rename
from activity import mongo, selectors
from activity.erasure.services import erase_subject
from activity.jobs.models import Job, JobProblem
from activity.jobs.services import job_start
from activity.models import OutboxEvent
from activity.search import Query
from tenants import subject_keys
from tenants.valkey import redis_client
from tests.accounts.conftest import Api, ApiOf
from tests.erasure.conftest import ADA, MARKER, Erasing, bystander, sent


@pytest.fixture
def client(erasing: Erasing, api: ApiOf) -> Api:
    found: Api = api(erasing.owner, erasing.ref)
    return found


def without_terms(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in document.items() if name != "terms"} for document in documents]


def test_a_former_member_is_erased_from_everywhere(erasing: Erasing, client: Api) -> None:
    mia = member_create(by=erasing.owner, email=f"{MARKER}@mia.example", name=f"Mia {MARKER}")
    member_rename(by=erasing.owner, member=mia, name=f"Mia {MARKER} the second")
    client.post("/activity", {"action": "report.read", "data": {"n": 1}}, Idempotency_Key="one")
    created = client.post("/members", {"email": f"{MARKER}@other.example"}, Idempotency_Key="two")
    assert created.status_code == 201
    other = created.json()
    client.delete(f"/members/{other['id']}")
    export = erasing.run(job_start(kind="members.export"))
    JobProblem.of(export.pk, 2, "email", f"{MARKER}@mia.example", "twice").save()
    erasing.relay()
    person = mia.pk
    member_remove(by=erasing.owner, member=mia)  # its event waits in the outbox
    waiting = OutboxEvent.objects.get(document__action="member.removed", document__target__id=str(person))
    assert MARKER not in str(waiting.document)
    places = erasing.places()
    assert "file" in places
    assert "tenant jobs_jobproblem" in places
    assert "mongo terms" in places
    assert erasing.words(MARKER)

    for who in (f"member:{person}", f"member:{other['id']}"):
        answer = client.post("/activity/erasures", {"subject": who})
        assert answer.status_code == 202, answer.content
        job = erasing.run(Job.objects.get(pk=answer.json()["id"]))
        assert job.state == "succeeded", job.error
    assert erasing.places() == []
    assert MARKER not in client.get("/activity?limit=500").content.decode().lower()
    assert client.get("/members.csv").status_code == 200
    again = client.post("/activity", {"action": "report.read", "data": {"n": 1}}, Idempotency_Key="one")
    assert (again.status_code, "took effect" in again.json()["detail"]) == (409, True)


def test_somebody_of_the_product_is_erased_and_nobody_else(erasing: Erasing, client: Api) -> None:
    answer = client.post("/activity", sent(), Idempotency_Key="k")
    assert answer.status_code == 201
    assert MARKER in answer.content.decode()  # to whoever sent it
    erasing.send(*(sent(action="order.paid") for _ in range(20)), *(bystander() for _ in range(20)))
    erasing.relay()
    erasing.send(sent(action="order.sent"))
    assert [place for place in erasing.places() if not place.startswith("mongo terms")] == []
    before = erasing.documents()

    job = erasing.run(erase_subject(ADA))
    assert (job.state, job.counts) == ("succeeded", {"events": 22})
    assert erasing.places() == []
    assert without_terms(erasing.documents())[: len(before)] == without_terms(before)
    assert erasing.words(MARKER) == []
    assert erasing.words("baker") == []
    (event,) = selectors.event_page(erasing.ref, Query(action="order.sent")).items
    assert event["actor"]["name"] == "Erased"
    assert event["data"] == {"order": 12, "contact": {"erased": True}}
    # Others are as they were.
    assert len(erasing.words("hopper")) == 20
    assert {item["data"]["email"] for item in erasing.words("grace hopper")} == {"grace@example.com"}
    # That it was done is in the log, without a word of whom.
    (tombstone,) = selectors.event_page(erasing.ref, Query(action="member.erased")).items
    assert tombstone["actor"]["name"] == "Olga"
    assert tombstone["target"]["type"] == "person"


def test_control_without_the_job_their_words_are_still_in_the_index(erasing: Erasing) -> None:
    """The control: the key alone is destroyed, and the search that found nothing above finds it."""
    erasing.send(sent(), bystander())
    erasing.relay()
    subject_keys.destroy(erasing.ref, [subject_keys.digest(erasing.ref, ADA)], by="test:control")
    assert erasing.places() == ["mongo terms"]
    assert erasing.words(MARKER)


def test_control_with_the_key_left_their_values_can_be_read(erasing: Erasing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other control: all is done but the destruction of the key."""
    monkeypatch.setattr(subject_keys, "destroy", lambda *args, **kwargs: None)
    erasing.send(sent())
    erasing.relay()
    assert erasing.run(erase_subject(ADA)).state == "succeeded"
    assert erasing.words(MARKER)
    assert MARKER in str(selectors.event_page(erasing.ref, Query()).items).lower()


def test_a_document_that_comes_late_from_a_relay_that_had_the_key_changes_nothing(erasing: Erasing) -> None:
    """Such a relay was stopped while it appended; its rows were in the outbox, so the job has appended them before it looks for words."""
    from pymongo.errors import DuplicateKeyError

    erasing.send(sent())
    erasing.relay()
    (late,) = erasing.documents()
    assert f"w:{MARKER}" in late["terms"]
    erasing.run(erase_subject(ADA))
    with pytest.raises(DuplicateKeyError):
        mongo.events().insert_one(late)
    assert erasing.places() == []


def test_another_process_stops_to_show_it_within_two_seconds(erasing: Erasing) -> None:
    """What another process remembers is put back here after the key was destroyed."""
    erasing.send(sent())
    erasing.relay()
    assert erasing.words(MARKER)
    remembered = dict(subject_keys._keys)
    destroyed = time.monotonic()
    subject_keys.destroy(erasing.ref, [subject_keys.digest(erasing.ref, ADA)], by="test:time")
    subject_keys._keys.update(remembered)
    names = {}
    while time.monotonic() - destroyed < 2:
        name = selectors.event_page(erasing.ref, Query(action="order.placed")).items[0]["actor"]["name"]
        names[name] = time.monotonic() - destroyed
    assert list(names) == [f"Ada {MARKER.title()}", "Erased"]  # the control: at first it is shown
    assert names[f"Ada {MARKER.title()}"] < 2


def test_control_the_look_for_a_word_sees_each_place(erasing: Erasing) -> None:
    """Without encryption, and with whatever else might leave a copy, the bytes are found."""
    key = f"{erasing.ref.id}:cache:1:test"
    redis_client().set(key, f"<p>{MARKER.upper()}</p>", ex=60)
    default_storage.save("notes/copy.txt", ContentFile(MARKER))
    subject_keys.destroy(erasing.ref, ["0" * 32], by=f"test:{MARKER}")
    erasing.send(sent(personal=[]))
    found = ["control tenants_erasure", "file", "tenant activity_outboxevent", f"valkey {key.encode()!r}"]
    assert erasing.places() == found
    erasing.relay()
    assert {"mongo actor", "mongo data", "mongo terms"} <= set(erasing.places())
    redis_client().delete(key)
