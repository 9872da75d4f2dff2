"""Audited models: each change through the model or its manager is an event in the same transaction, with what changed and no secret."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from activity.audit import AuditedManager
from activity.audit_values import is_secret, shown
from activity.errors import NotAuditable
from activity.events import Event
from activity.models import OutboxEvent
from activity.testing import assert_recorded, recorded_events
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant
from tests.notes.models import Binder, Clause, Contract, Note, Sheet


@pytest.fixture
def contract(tenant: TenantRef) -> Contract:
    return Contract.objects.create(title="Lease", amount=100, iban="DE89370400440532013000", api_token="t0k3n")


def changes_of(events: list[Any]) -> list[dict[str, Any]]:
    return [dict(event.data["changes"]) for event in events]


# --- One object ------------------------------------------------------------------------------------------------------------


def test_what_is_created_is_told_with_its_fields_and_no_secret(tenant: TenantRef) -> None:
    with recorded_events() as events:
        made = Contract.objects.create(
            title="Lease", amount=7, iban="DE89", api_token="t0k3n", terms={"apiKey": "k", "days": 30}
        )
    (event,) = events
    assert event.action == "contract.created"
    assert event.target == {"type": "contract", "id": str(made.pk), "name": "Lease"}
    assert event.data["fields"] == {
        "id": made.pk,
        "title": "Lease",
        "amount": 7,
        "due": None,
        "iban": "***",
        "api_token": "***",
        "terms": {"apiKey": "***", "days": 30},
        "note": None,
    }


def test_an_update_tells_what_changed_and_asks_nothing_more(contract: Contract) -> None:
    loaded = Contract.objects.get()
    loaded.amount, loaded.iban = 200, "DE12"
    with recorded_events() as events, CaptureQueriesContext(connection) as queries:
        loaded.save()
    assert changes_of(events) == [{"amount": [100, 200], "iban": ["***", "***"]}]
    spoken = [
        query["sql"].split()[0]
        for query in queries
        if "SAVEPOINT" not in query["sql"] and "max" not in query["sql"].lower()
    ]
    assert spoken == ["UPDATE", "INSERT"]


def test_a_save_that_changes_nothing_is_no_event(contract: Contract) -> None:
    loaded = Contract.objects.get()
    loaded.amount = "100"  # the same number
    loaded.views += 1  # isn't told of
    with assert_recorded():
        loaded.save()
    assert Contract.objects.get().views == 1


def test_only_what_is_written_counts(contract: Contract) -> None:
    loaded = Contract.objects.get()
    loaded.title, loaded.amount = "Rent", 300
    with assert_recorded("contract.updated", changes={"amount": [100, 300]}):
        loaded.save(update_fields=["amount"])
    with assert_recorded("contract.updated", changes={"title": ["Lease", "Rent"]}):
        loaded.save()


def test_a_deferred_field_is_asked_for_once_it_is_written(contract: Contract) -> None:
    deferred = Contract.objects.only("title").get()
    with assert_recorded("contract.updated", changes={"title": ["Lease", "Rent"]}):
        deferred.title = "Rent"
        deferred.save()
    deferred = Contract.objects.only("title").get()
    with assert_recorded("contract.updated", changes={"amount": [100, 5]}):
        deferred.amount = 5
        deferred.save()
    deferred = Contract.objects.only("title").get()
    assert deferred.amount == 5  # loaded after all
    with assert_recorded("contract.updated", changes={"amount": [5, 6]}):
        deferred.amount = 6
        deferred.save()
    with assert_recorded("contract.deleted") as events:
        Contract.objects.only("pk").get().delete()
    assert events[0].data["fields"]["title"] == "Rent"


def test_an_object_made_by_hand_for_a_row_that_is_there_updates_it(contract: Contract) -> None:
    with assert_recorded("contract.updated") as events:
        Contract(pk=contract.pk, title="Lease", amount=9, iban=contract.iban, api_token=contract.api_token).save()
    assert changes_of(events) == [{"amount": [100, 9]}]


def test_a_key_of_ones_own_is_created_and_updated(contract: Contract) -> None:
    with assert_recorded("contract_clause.created"):
        Clause(number="1a", contract=contract, text="All").save()
    with assert_recorded("contract_clause.updated", changes={"text": ["All", "None"]}):
        Clause(number="1a", contract=contract, text="None").save()
    copy = Clause.objects.get()
    copy.number = "1b"
    with assert_recorded("contract_clause.created"):
        copy.save()


def test_what_the_database_computes_is_told_as_it_came_out(contract: Contract) -> None:
    loaded = Contract.objects.get()
    loaded.amount = F("amount") + 1
    with assert_recorded("contract.updated", changes={"amount": [100, 101]}):
        loaded.save()


def test_a_value_that_is_changed_in_place_is_noticed(contract: Contract) -> None:
    loaded = Contract.objects.get()
    loaded.terms["days"] = 30
    with assert_recorded("contract.updated", changes={"terms": [{}, {"days": 30}]}):
        loaded.save()
    loaded.terms["days"] = 31
    with assert_recorded("contract.updated", changes={"terms": [{"days": 30}, {"days": 31}]}):
        loaded.save()


def test_a_refreshed_object_knows_the_row_anew(contract: Contract) -> None:
    loaded = Contract.objects.get()
    Contract.objects.update(amount=500)
    loaded.refresh_from_db()
    loaded.amount = 501
    with assert_recorded("contract.updated", changes={"amount": [500, 501]}):
        loaded.save()


def test_a_deletion_tells_what_is_gone_and_what_went_with_it(contract: Contract) -> None:
    Clause.objects.create(number="1a", contract=contract, text="All")
    with recorded_events() as events:
        contract.delete()
    assert sorted(event.action for event in events) == ["contract.deleted", "contract_clause.deleted"]
    gone = next(event for event in events if event.action == "contract.deleted")
    assert gone.target
    assert gone.target["name"] == "Lease"
    assert gone.data["fields"]["amount"] == 100
    assert gone.data["fields"]["iban"] == "***"


def test_what_a_deletion_elsewhere_does_to_it_is_told(contract: Contract) -> None:
    note = Note.objects.create(title="Plan")
    Contract.objects.update(note=note)
    with assert_recorded("contract.updated", changes={"note": [note.pk, None]}):
        note.delete()
    binder = Binder.objects.create()
    Sheet.objects.bulk_create(Sheet(binder=binder) for _ in range(2))
    with assert_recorded("sheet.deleted", "sheet.deleted"):
        Binder.objects.all().delete()


# --- Together with its change ------------------------------------------------------------------------------------------------


def test_a_change_and_its_event_commit_together_or_not_at_all(lasting_tenant: LastingTenant) -> None:
    with context.use_tenant(lasting_tenant()):
        made = Contract.objects.create(title="Lease")
        assert OutboxEvent.objects.count() == 1
        made.amount = 1
        with pytest.raises(RuntimeError), transaction.atomic():
            made.save()
            raise RuntimeError
        assert OutboxEvent.objects.count() == 1
        with pytest.raises(IntegrityError), assert_recorded():
            Contract.objects.create(pk=made.pk, title="again")
        assert OutboxEvent.objects.count() == 1


def test_what_was_rolled_back_is_not_taken_for_the_row(lasting_tenant: LastingTenant) -> None:
    with context.use_tenant(lasting_tenant()):
        Contract.objects.create(title="Lease", amount=1)
        loaded = Contract.objects.get()
        loaded.amount = 2
        with pytest.raises(RuntimeError), transaction.atomic():
            loaded.save()
            raise RuntimeError
        with assert_recorded("contract.updated", changes={"amount": [1, 2]}):
            loaded.save()  # the second try
        loaded.amount = 3
        with (
            assert_recorded("contract.updated", changes={"amount": [2, 3]}),
            CaptureQueriesContext(connection) as queries,
        ):
            loaded.save()
    assert not [query for query in queries if "FOR UPDATE" in query["sql"]]  # once it has committed, the object knows


def test_an_event_that_cannot_be_recorded_undoes_the_change(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Event:
        raise RuntimeError

    monkeypatch.setattr(Contract, "audit_event", refuse)
    with pytest.raises(RuntimeError):
        Contract.objects.create(title="Lease")
    assert not Contract.objects.exists()


# --- Many objects ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tenant: TenantRef) -> None:
    Contract.objects.bulk_create([Contract(title=f"Lease {number}", amount=number) for number in range(1200)])


def statements(queries: CaptureQueriesContext) -> int:
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])


def test_update_tells_of_each_row_in_a_few_statements(many: None) -> None:
    with recorded_events() as events, CaptureQueriesContext(connection) as queries:
        assert Contract.objects.filter(amount__gte=2).update(amount=F("amount") * 10, iban="DE1") == 1198
    assert len(events) == 1198
    assert changes_of(events)[0] == {"amount": [2, 20], "iban": [None, "***"]}
    assert {event.action for event in events} == {"contract.updated"}
    assert statements(queries) <= 7
    with assert_recorded():
        assert Contract.objects.filter(amount=-1).update(amount=0) == 0
        Contract.objects.filter(amount=0).update(amount=0)


def test_bulk_create_and_bulk_update_and_delete_tell_of_each(many: None) -> None:
    with recorded_events() as events, CaptureQueriesContext(connection) as queries:
        made = Contract.objects.bulk_create([Contract(title="New") for _ in range(1100)])
    assert {event.action for event in events} == {"contract.created"}
    assert [event.target["id"] for event in events if event.target] == [str(each.pk) for each in made]
    assert statements(queries) <= 6
    for each in made[:50]:
        each.amount = each.pk
    with recorded_events() as events:
        Contract.objects.bulk_update(made[:50], ["amount"])
    assert [change["amount"] for change in changes_of(events)] == [[0, each.pk] for each in made[:50]]
    with assert_recorded():
        made[0].save()  # it is as it was written
    with recorded_events() as events, CaptureQueriesContext(connection) as queries:
        Contract.objects.all().delete()
    assert len(events) == 2300
    assert statements(queries) <= 60  # Django's own, a hundred rows each, and three for the events


def test_related_managers_and_get_or_create_tell(contract: Contract) -> None:
    other = Contract.objects.create(title="Rent")
    clause = Clause.objects.create(number="1a", contract=contract)
    with assert_recorded("contract_clause.updated", changes={"contract": [contract.pk, other.pk]}):
        other.clauses.add(clause)
    with assert_recorded("contract.updated", changes={"amount": [100, 1]}):
        Contract.objects.update_or_create(title="Lease", defaults={"amount": 1})
    with assert_recorded("contract.created"):
        Contract.objects.get_or_create(title="Loan")


def test_what_nobody_could_tell_of_is_refused_before_it_happens(contract: Contract) -> None:
    for conflicts in (
        {"ignore_conflicts": True},
        {"update_conflicts": True, "update_fields": ["text"], "unique_fields": ["number"]},
    ):
        with pytest.raises(NotAuditable, match="conflicts"):
            Clause.objects.bulk_create([Clause(number="1a", contract=contract)], **conflicts)
    with pytest.raises(NotAuditable, match="key"):
        Clause.objects.update(number="2")
    assert not Clause.objects.exists()


def test_a_manager_that_tells_nothing_fails_the_check(tenant: TenantRef) -> None:
    assert [found.id for found in Contract.check()] == []
    plain = models.Manager()  # type: ignore[var-annotated]
    plain.contribute_to_class(Contract, "plain")
    aware = AuditedManager()
    aware.contribute_to_class(Contract, "aware")
    try:
        assert [found.id for found in Contract.check()] == ["activity.E001"]
    finally:
        Contract._meta.local_managers = [each for each in Contract._meta.local_managers if each not in (plain, aware)]
        Contract._meta._expire_cache()


def test_update_past_the_manager_tells_nothing(contract: Contract) -> None:
    """The control: what makes the difference is the queryset."""
    plain = models.QuerySet(Contract)
    with assert_recorded():
        plain.update(amount=77)
    with pytest.raises(AssertionError, match=r"contract\.updated"), assert_recorded():
        Contract.objects.update(amount=78)


def test_loaddata_tells_nothing(contract: Contract, tmp_path: Any) -> None:
    fixture = tmp_path / "contracts.json"
    with fixture.open("w") as out:
        call_command("dumpdata", "notes.contract", stdout=out)
    with assert_recorded():
        call_command("loaddata", str(fixture), verbosity=0)


# --- What an app may say, and what an event can hold -------------------------------------------------------------------------


def test_an_app_names_the_event_itself_or_lets_it_be(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    class ContractRaised(Event):
        action = "contract.raised"

    def own(self: Contract, what: str, facts: Any) -> Event | None:
        return ContractRaised(target=self.audit_target()) if what == "updated" else None

    monkeypatch.setattr(Contract, "audit_event", own)
    contract.amount += 1
    with assert_recorded("contract.raised"):
        contract.save()
    with assert_recorded():
        contract.delete()


@pytest.mark.parametrize(
    "name", ["password", "api_key", "apiKey", "client-secret", "Token", "refresh_tokens", "otp", "Password2", "passwd"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["keyword", "tokenizer", "monkey", "pinned", "title", "passenger", "secretary"])
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret(name)


def test_values_are_short_and_can_be_held(tenant: TenantRef) -> None:
    values = {
        "text": "x" * 600,
        "bytes": b"12345",
        "infinite": float("inf"),
        "big": 2**70,
        "list": list(range(900)),
        "half": "\ud800",
    }
    told = shown(values, secret=(), plain=())
    assert told["text"] == "x" * 500 + "… (600 characters)"
    assert told["bytes"] == "5 bytes"
    assert told["infinite"] == "inf"
    assert told["big"] == str(2**70)
    assert told["list"].endswith("characters)")
    assert told["half"] == "?"
    assert shown({"sort_key": 3, "key": ""}, secret=(), plain={"sort_key"}) == {"sort_key": 3, "key": None}
    with assert_recorded("contract.created"):
        Contract.objects.create(title="\U0001f600" * 1900, terms={str(number): "\u0001" * 50 for number in range(200)})


# --- The test helper -------------------------------------------------------------------------------------------------------


def test_the_helper_says_what_was_recorded_instead(contract: Contract) -> None:
    contract.amount = 1
    with (
        pytest.raises(AssertionError, match=r"contract\.deleted.*\n.*contract\.updated"),
        assert_recorded("contract.deleted"),
    ):
        contract.save()
    contract.amount = 2
    with pytest.raises(AssertionError, match="changes"), assert_recorded("contract.updated", changes={}):
        contract.save()
    with recorded_events() as events:
        pass
    assert events == []
