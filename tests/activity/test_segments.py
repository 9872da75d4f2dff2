"""Where the log and Postgres have parted, a new segment takes in what is there, nothing stops, and the log stays proven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from django.db import transaction

from activity import log, mongo, outbox, segments, services
from activity import relay as relays
from activity.chain.statements import Opening
from activity.errors import SequenceConflict
from activity.models import LogCheckpoint, LogHead, LogSegment, OutboxEvent
from activity.relay import Relayed, relay
from activity.verify import verify
from tenants import context
from tenants.refs import CONTROL, TenantRef
from tests.activity.conftest import LastingTenant, faults, logged, report
from tests.activity.test_relay import pages_of, record, recorded_ids

TABLES = (OutboxEvent, LogHead, LogSegment, LogCheckpoint)


def relayed(ref: TenantRef, *numbers: int) -> None:
    record(*numbers)
    relay(ref)


def backup() -> list[list[dict[str, Any]]]:
    """What a backup of the tenant's database would hold of the log."""
    return [list(model._default_manager.values()) for model in TABLES]


def restore(kept: list[list[dict[str, Any]]]) -> None:
    """Set the active tenant's database to a backup."""
    for model, rows in zip(TABLES, kept, strict=True):
        model._default_manager.all().delete()
        model._default_manager.bulk_create(model(**row) for row in rows)


def openings() -> list[Opening]:
    statements = LogSegment.objects.order_by("number").values_list("statement", flat=True)
    return [Opening.said(orjson.loads(bytes(statement))) for statement in statements]


def test_the_first_relay_opens_a_segment_and_signs_what_it_appends(tenant: TenantRef) -> None:
    relayed(tenant, *range(5))
    (opening,) = openings()
    assert (opening.tenant, opening.first, opening.adopted, opening.reason) == (tenant.id, 1, 0, "started")
    point = LogCheckpoint.objects.get()
    assert (point.first, point.last, bytes(point.hash)) == (1, 5, bytes(LogHead.objects.get().hash))
    assert [bytes(document["hash"]) for document in logged(tenant)][-1] == bytes(point.hash)
    assert verify(tenant).valid
    assert verify(tenant).checked == 5


def test_a_checkpoint_grows_until_it_spans_enough(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SPAN", 6)
    for turn in range(5):
        relayed(tenant, turn * 2, turn * 2 + 1)
    assert list(LogCheckpoint.objects.order_by("last").values_list("first", "last")) == [(1, 6), (7, 10)]
    assert verify(tenant).checked == 10


def test_values_that_are_hard_to_write_make_the_same_bytes_everywhere(tenant: TenantRef) -> None:
    hard = {
        "floats": [1e-7, 0.1, 5e-324, 1.7e18, 1.0, -0.0, 123456789.123456789],
        "ints": [0, -(2**63), 2**63 - 1, 2**53 + 1],
        "text": "é\u2028\\\"'\x01 𝄞 /",
        "Z": None, "a": True, "ä": {"b": [], "A": {}},
    }  # fmt: skip
    for _ in range(3):
        services.event_ingest({"action": "report.published", "data": hard})
    relay(tenant)
    assert verify(tenant).valid
    assert verify(tenant).checked == 3


def test_postgres_set_back_to_a_backup_goes_on_behind_the_log(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        relayed(ref, 1, 2, 3)
        record(4)  # in the outbox of the backup, and relayed after it
        ids = recorded_ids()
        kept = backup()
        relay(ref)
        relayed(ref, 5, 6)
        before = logged(ref)
        restore(kept)
        record(7)
        assert relay(ref).appended == 1
        documents = logged(ref)
        assert documents[:6] == before
        assert pages_of(documents) == [1, 2, 3, 4, 5, 6, 7]
        assert ids[0] == documents[3]["id"]
        last = openings()[-1]
        assert (last.first, last.adopted, last.reason) == (4, 6, "restored")
        outcome = verify(ref)
        assert (outcome.valid, outcome.checked) == (True, 7)
        relayed(ref, 8)
        assert verify(ref).checked == 8


@pytest.mark.parametrize("edited", [4, 5, 7])
def test_what_was_taken_in_is_proven_from_then_on(lasting_tenant: LastingTenant, edited: int) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        relayed(ref, 1, 2, 3)
        kept = backup()
        relayed(ref, 4, 5, 6)
        restore(kept)
        relayed(ref, 7)
        mongo.events().update_one({"tenant": ref.id, "seq": edited}, {"$set": {"data.pages": 100}})
        found = verify(ref)
        assert found.first_bad is not None
        assert (found.first_bad.seq, found.first_bad.reason) == (edited, "edited")


def test_set_back_again_and_again_it_still_goes_on(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        kept = [backup()]
        for turn in range(6):
            relayed(ref, turn)
            kept.append(backup())
            restore(kept[turn // 2])
            relayed(ref, 100 + turn)
            kept.append(backup())
        documents = logged(ref)
        assert [document["seq"] for document in documents] == list(range(1, 13))
        assert verify(ref).checked == 12
        assert verify(ref).valid


def test_without_a_new_segment_the_relay_stops_for_ever(
    lasting_tenant: LastingTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    ref = lasting_tenant()
    with context.use_tenant(ref):
        relayed(ref, 1)
        kept = backup()
        relayed(ref, 2)
        restore(kept)
        record(3)
        with monkeypatch.context() as patched:
            patched.setattr(segments, "open_segment", lambda ref, by_conflict: True)
            with pytest.raises(SequenceConflict):
                relay(ref)
        assert OutboxEvent.objects.count() == 1
        assert relay(ref).appended == 1


def test_another_epoch_begins_a_segment_that_goes_on_with_the_chain(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        relayed(ref, 1, 2)
        moved = replace(ref, epoch=ref.epoch + 1)
        record(3)
        assert relay(moved) == Relayed(1, 0)
        first, second = openings()
        assert (second.segment, second.first, second.adopted, second.reason) == (2, 3, 2, "rerouted")
        assert second.previous is not None
        assert second.previous[0] == 2
        assert first.route != second.route
        assert verify(ref).valid
        record(4)
        assert relay(moved) == Relayed(1, 0)
        assert len(openings()) == 2


def test_a_clone_begins_a_log_of_its_own(lasting_tenant: LastingTenant) -> None:
    origin, clone = lasting_tenant(), lasting_tenant()
    with context.use_tenant(origin):
        relayed(origin, 1, 2, 3)
        record(4)
        kept = backup()
    with context.use_tenant(clone):
        restore(kept)
        record(5)
        relay(clone)
        documents = logged(clone)
        assert ([document["seq"] for document in documents], sorted(pages_of(documents))) == ([4, 5], [4, 5])
        (opening,) = openings()
        assert (opening.tenant, opening.first, opening.reason) == (clone.id, 4, "cloned")
        assert (verify(clone).valid, verify(clone).checked) == (True, 2)
    with context.use_tenant(origin):
        relay(origin)
        assert verify(origin).checked == 4


def test_a_log_from_before_the_chain_is_taken_in(tenant: TenantRef) -> None:
    record(*range(4))
    rows = OutboxEvent.objects.order_by("id")
    log.append(tenant, [{**row.document, "seq": seq} for seq, row in enumerate(rows, start=1)])
    mongo.events().update_many({"tenant": tenant.id}, {"$unset": {"canonical": 1, "hash": 1}})
    OutboxEvent.objects.all().delete()
    LogHead.objects.create(seq=4, appended=4)
    relayed(tenant, 5)
    assert [document["seq"] for document in logged(tenant)] == [1, 2, 3, 4, 5]
    assert (verify(tenant).valid, verify(tenant).checked) == (True, 5)


def test_an_event_with_a_number_out_of_the_way_stops_nobody(tenant: TenantRef) -> None:
    """Somebody puts an event with a monstrous number into MongoDB: it is named, and never taken for the end of the log."""
    relayed(tenant, 1, 2)
    (document,) = logged(tenant)[1:]
    false = {**document, "_id": f"{tenant.id}:false", "id": "false", "seq": 9_000_000_000}
    mongo.events().insert_one(false)
    relayed(tenant, 3)
    LogHead.objects.update(route="elsewhere")
    relayed(tenant, 4)
    assert LogHead.objects.get().appended == 4
    found = verify(tenant)
    assert found.first_bad is not None
    assert (found.first_bad.seq, found.first_bad.reason, found.checked) == (9_000_000_000, "inserted", 4)


def test_control_has_a_chain_of_its_own(acme: TenantRef) -> None:
    with context.use_control():
        with transaction.atomic():
            outbox.record(report(7))
        relay(CONTROL)
        assert (verify(CONTROL).valid, verify(CONTROL).checked) == (True, LogHead.objects.get().appended)


def test_numbered_rows_keep_number_and_hash_when_the_relay_dies(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        record(1, 2, 3)
        ids = recorded_ids()
        segments.open_segment(ref)
        relays._number(ref)
        numbered = list(OutboxEvent.objects.order_by("seq").values_list("seq", "hash"))
        relay(ref)
        assert [(document["seq"], bytes(document["hash"])) for document in logged(ref)] == [
            (seq, bytes(end)) for seq, end in numbered
        ]
        assert faults(ids, logged(ref)) == []
