"""Personal fields: ciphertext wherever events are kept, plain to those who may read the log, and nothing else that was moved or forged."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
import psycopg
import pytest
from django.db import transaction

from accounts.events import InvitationSent, SessionSignInFailed
from activity import outbox, selectors, services
from activity.audit_events import event_classes
from activity.context import Actor, RecordingContext, recording_as
from activity.errors import EventInvalid
from activity.events import Event, Target
from activity.models import OutboxEvent
from activity.personal import reveal, terms
from activity.relay import relay
from activity.search import Query
from tenants import context, subject_keys
from tenants.errors import SubjectKeysUnavailable
from tenants.refs import CONTROL, TenantRef
from tests.activity.conftest import logged, report
from tests.activity.test_ingest import sent

SECRET = "quuxword"


@dataclass(frozen=True, kw_only=True)
class LetterSent(Event):
    action: ClassVar[str] = "letter.sent"
    personal: ClassVar[frozenset[str]] = frozenset({"address", "lines"})
    address: str
    lines: dict[str, Any]
    stamps: int = 1


ADA = RecordingContext(Actor("member", "7", f"Ada {SECRET}"), request_id="r-1", ip="192.0.2.77", source="ui")


@pytest.fixture(autouse=True)
def no_keys_left(acme: TenantRef) -> Iterator[None]:
    """Keys are committed, whatever is rolled back."""
    yield
    subject_keys.forget_owner(acme)


def record(event: Event, around: RecordingContext = ADA) -> dict[str, Any]:
    """The document as it is kept."""
    with recording_as(around), transaction.atomic():
        outbox.record(event)
    row = OutboxEvent.objects.order_by("id").last()
    assert row is not None
    found: dict[str, Any] = row.document
    return found


def letter() -> LetterSent:
    return LetterSent(address=f"1 {SECRET} street", lines={"a": [SECRET, 1.5, None, True], "b": {"c": "ü"}})


def test_what_is_personal_is_kept_encrypted_and_comes_back_as_it_was(tenant: TenantRef) -> None:
    kept = record(letter())
    assert SECRET not in str(kept)
    assert "192.0.2.77" not in str(kept)
    assert kept["data"]["stamps"] == 1
    assert set(kept["data"]["address"]) == {"$personal"}
    (shown,) = reveal(tenant, [kept])
    assert shown["actor"] == {"type": "member", "id": "7", "name": f"Ada {SECRET}"}
    assert shown["ip"] == "192.0.2.77"
    assert shown["data"] == letter().data()
    assert SECRET not in str(kept)  # what was given is as it was


def test_it_is_the_same_from_jsonb_and_from_the_log(tenant: TenantRef) -> None:
    kept = record(letter())
    relay(tenant)
    (document,) = logged(tenant)
    assert {name: document[name] for name in ("actor", "ip", "data")} == {
        name: kept[name] for name in ("actor", "ip", "data")
    }
    assert orjson.loads(orjson.dumps(kept)) == kept
    (shown,) = selectors.event_page(tenant, Query()).items
    assert shown["data"] == letter().data()
    assert selectors.event_get(shown["id"])["actor"]["name"] == f"Ada {SECRET}"  # type: ignore[index]


def test_its_words_are_found(tenant: TenantRef) -> None:
    record(letter())
    record(report(1), RecordingContext())
    relay(tenant)
    assert len(selectors.event_page(tenant, Query(q=f"{SECRET} street")).items) == 1
    assert [any(term.startswith("p:") for term in document["terms"]) for document in logged(tenant)] == [True, False]


def test_each_person_has_a_key_of_their_own(tenant: TenantRef) -> None:
    grace = Target("member", "8", f"Grace {SECRET}")
    record(LetterSent(target=grace, address=SECRET, lines={}))
    kept = OutboxEvent.objects.get().document
    subjects = {kept["actor"]["name"]["$personal"]["subject"], kept["target"]["name"]["$personal"]["subject"]}
    assert len(subjects) == 2
    assert kept["data"]["address"]["$personal"]["subject"] == kept["target"]["name"]["$personal"]["subject"]
    subject_keys.destroy(tenant, [subject_keys.digest(tenant, "member:8")], by="test:1")
    (shown,) = reveal(tenant, [kept])
    assert (shown["actor"]["name"], shown["target"]["name"]) == (f"Ada {SECRET}", "Erased")
    assert shown["data"]["address"] == {"erased": True}
    assert f"w:{SECRET}" in terms(tenant, [kept])[0]  # Ada's
    assert "w:erased" not in terms(tenant, [kept])[0]


def test_a_value_shows_nothing_elsewhere(tenant: TenantRef, globex: TenantRef) -> None:
    """Moved to another place, another event or another tenant, it doesn't decrypt."""
    one, other = record(letter()), record(letter())
    moved = copy.deepcopy(one)
    moved["data"]["stamps"] = one["data"]["address"]
    assert reveal(tenant, [moved])[0]["data"]["stamps"] == {"unreadable": True}
    moved = {**one, "actor": other["actor"], "ip": other["ip"]}
    (shown,) = reveal(tenant, [moved])
    assert (shown["actor"]["name"], shown["ip"]) == ("Unreadable", None)
    assert reveal(globex, [one])[0]["actor"]["name"] == "Unreadable"


def test_nothing_can_be_sent_that_looks_like_it(tenant: TenantRef) -> None:
    with pytest.raises(EventInvalid, match="kept for Tenantry"):
        services.event_ingest(sent(1, data={"x": {"$personal": {"subject": "0" * 32}}}))


def test_who_was_invited_and_who_failed_to_sign_in_are_known_by_their_address(tenant: TenantRef) -> None:
    nobody = RecordingContext(ip="192.0.2.78")
    kept = [
        record(InvitationSent(target=Target("invitation", "1", f"{SECRET}@x.example"), role="member"), nobody),
        record(SessionSignInFailed(email=f"{SECRET.upper()}@x.example"), nobody),
    ]
    assert SECRET not in str(kept).lower()
    assert "192.0.2.78" in str(kept[0])  # of the system, who is nobody
    assert "192.0.2.78" not in str(kept[1])
    digest = subject_keys.digest(tenant, f"address:{SECRET}@x.example")
    assert kept[0]["target"]["name"]["$personal"]["subject"] == digest
    assert kept[1]["data"]["email"]["$personal"]["subject"] == digest


def test_personal_fields_of_nobody_are_refused(tenant: TenantRef) -> None:
    with pytest.raises(EventInvalid, match="give the event a subject"):
        record(letter(), RecordingContext())
    assert not OutboxEvent.objects.exists()


# --- Sent in ---------------------------------------------------------------------------------------------------------------

PERSON = {"type": "user", "id": f"{SECRET}@x.example", "name": f"Ada {SECRET}"}


def test_an_event_names_its_own_personal_places(tenant: TenantRef) -> None:
    event = sent(
        1,
        actor=PERSON,
        target={"type": "order", "id": "9", "name": "Order 9"},
        data={"email": SECRET, "lines": [{"to": SECRET}, {"to": "b"}], "n": None, "kept": "plain"},
        personal=["actor.id", "actor.name", "data.email", "data.lines.0.to", "data.n"],
    )
    answer, is_new = services.event_ingest(event)
    assert is_new
    assert answer["data"] == event["data"]
    assert answer["actor"]["name"] == PERSON["name"]
    (row,) = OutboxEvent.objects.all()
    assert SECRET not in str(row.document)
    assert row.document["target"]["name"] == "Order 9"
    assert row.document["data"]["kept"] == "plain"
    again, is_new = services.event_ingest(event)
    assert (is_new, again) == (False, selectors.event_get(event["id"]))


def test_an_id_that_gave_way_to_a_digest_can_still_be_asked_for(tenant: TenantRef) -> None:
    services.events_ingest(
        [
            sent(1, actor=PERSON, personal=["actor.id"]),
            sent(2, actor=PERSON),  # as it is sent, so it is kept
            sent(3, actor={"type": "user", "id": "other", "name": ""}, target=PERSON, personal=["target.id"]),
        ]
    )
    relay(tenant)
    asked = f"user:{PERSON['id']}"
    found = selectors.event_page(tenant, Query(actor=asked)).items
    assert [event["data"]["number"] for event in found] == [2, 1]
    assert [event["data"]["number"] for event in selectors.event_page(tenant, Query(target=asked)).items] == [3]
    assert selectors.event_page(tenant, Query(actor="user:nobody")).items == []


def test_of_whom_data_tells_can_be_said(tenant: TenantRef) -> None:
    services.events_ingest([sent(1, actor=PERSON, data={"email": SECRET}, personal=["data.email"], subject="user:44")])
    kept = OutboxEvent.objects.get().document
    assert kept["data"]["email"]["$personal"]["subject"] == subject_keys.digest(tenant, "user:44")


@pytest.mark.parametrize(
    "path", ["data", "data.nothing", "data.number.deeper", "data.", "actor.type", "target.name", "action", "id", ""]
)
def test_a_path_that_leads_nowhere_is_refused(tenant: TenantRef, path: str) -> None:
    with pytest.raises(EventInvalid) as caught:
        services.events_ingest([sent(1), sent(2, actor=PERSON, personal=["actor.name", path])])
    assert set(caught.value.errors) == {"events.1.personal.1"}
    assert not OutboxEvent.objects.exists()


def test_places_may_lie_within_each_other(tenant: TenantRef) -> None:
    data = {"a": {"b": SECRET, "c": 1}}
    services.events_ingest([sent(1, actor=PERSON, data=data, personal=["data.a.b", "data.a"])])
    kept = OutboxEvent.objects.get().document
    assert SECRET not in str(kept["data"])
    assert reveal(tenant, [kept])[0]["data"] == data


# --- Keys ------------------------------------------------------------------------------------------------------------------


def test_with_its_key_remembered_recording_is_one_statement_and_asks_control_nothing(
    tenant: TenantRef, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(report(1))
    with monkeypatch.context() as patched:
        patched.setattr(subject_keys, "_ask", None)  # it would fail
        with recording_as(ADA), transaction.atomic(), django_assert_num_queries(1):
            outbox.record(report(2))


def test_a_page_asks_control_once(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        record(report(number), RecordingContext(Actor("member", str(number), f"Number {number}")))
    relay(tenant)
    subject_keys.forget_all()
    asked: list[Any] = []
    real = subject_keys._ask
    monkeypatch.setattr(subject_keys, "_ask", lambda question: (asked.append(question), real(question))[1])
    names = [event["actor"]["name"] for event in selectors.event_page(tenant, Query()).items]
    assert names == [f"Number {number}" for number in reversed(range(50))]
    assert len(asked) == 1


def test_while_control_is_away_nothing_personal_is_recorded_in_clear(
    tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(question: Any) -> Any:
        raise SubjectKeysUnavailable("OperationalError")

    record(report(1))
    subject_keys.forget_all()
    with monkeypatch.context() as patched:
        patched.setattr(subject_keys, "_ask", away)
        with pytest.raises(SubjectKeysUnavailable):
            record(report(2))
        with pytest.raises(SubjectKeysUnavailable):
            reveal(tenant, [OutboxEvent.objects.get().document])
        record(report(3), RecordingContext())  # nobody's, so no key is needed
    assert OutboxEvent.objects.count() == 2


def test_what_the_pool_raises_is_told_as_one_error(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        class pool:  # noqa: N801
            @staticmethod
            def getconn() -> Any:
                raise psycopg.OperationalError("away")

    with monkeypatch.context() as patched:
        patched.setattr(subject_keys, "connections", {"control": Away()})
        with pytest.raises(SubjectKeysUnavailable):
            subject_keys.find(tenant, ["0" * 32])


def test_an_operators_event_keeps_its_key_when_its_change_is_rolled_back(tenants: dict[str, TenantRef]) -> None:
    """The key of a rolled-back event may be remembered and used by the next one, so it must be there."""
    operator = RecordingContext(Actor("operator", "rolled-back", f"Oscar {SECRET}"))
    with context.use_control():
        with recording_as(operator), transaction.atomic():
            outbox.record(report(1))
            transaction.set_rollback(True)
        kept = record(report(2), operator)
        assert SECRET not in str(kept)
        subject_keys.forget_all()
        assert reveal(CONTROL, [kept])[0]["actor"]["name"] == f"Oscar {SECRET}"


def test_keys_are_no_use_in_a_stolen_control_database(tenant: TenantRef, settings: Any) -> None:
    from tenants.crypto import DecryptionFailed

    kept = record(report(1))
    subject_keys.forget_all()
    settings.CREDENTIALS_KEYS = "stolen:" + "A" * 43 + "="
    with pytest.raises(DecryptionFailed):
        reveal(tenant, [kept])


def test_what_is_remembered_is_bounded(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject_keys, "MAX_REMEMBERED", 5)
    for number in range(12):
        subject_keys.obtain(tenant, [f"{number:032}"])
    assert len(subject_keys._keys) == 5


def test_an_audited_model_of_people_has_each_object_s_own_key(acme: TenantRef, tenant: TenantRef) -> None:
    created = event_classes(OutboxEvent, noun="patient", personal=True)["created"]
    facts: Any = {"fields": {"diagnosis": SECRET}}
    document = record(created(target=Target("patient", "7", f"Grace {SECRET}"), **facts))
    assert SECRET not in orjson.dumps({**document, "actor": None}).decode()
    (shown,) = reveal(tenant, [document])
    assert shown["target"]["name"] == f"Grace {SECRET}"
    assert shown["data"]["fields"] == {"diagnosis": SECRET}
    subject_keys.destroy(tenant, [subject_keys.digest(tenant, "patient:7")], by="test")
    (shown,) = reveal(tenant, [document])
    assert SECRET not in orjson.dumps({**shown, "actor": None}).decode()
    assert shown["actor"]["name"] == f"Ada {SECRET}"
