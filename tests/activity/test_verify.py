"""Scenario 19 on the real parts: MongoDB's documents are changed by hand, and `verify` names the first bad number."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from activity import mongo, segments
from activity.chain.links import canonical, link
from activity.errors import LogUnavailable
from activity.log import fields_of
from activity.models import LogCheckpoint, LogHead, LogSegment
from activity.verify import verify
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import logged
from tests.activity.test_segments import relayed

COUNT = 12
Found = tuple[int, str] | None


@pytest.fixture
def full(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch) -> TenantRef:
    """A tenant with twelve events: two segments, several checkpoints."""
    monkeypatch.setattr(segments, "SPAN", 5)
    relayed(tenant, *range(1, 5))
    LogHead.objects.update(route="elsewhere")
    for first in (5, 7, 9, 11):
        relayed(tenant, first, first + 1)
    assert len(logged(tenant)) == COUNT
    assert (LogSegment.objects.count(), LogCheckpoint.objects.count()) == (2, 3)
    return tenant


def found(ref: TenantRef) -> Found:
    outcome = verify(ref)
    assert outcome.checked == (outcome.first_bad.seq - 1 if outcome.first_bad else COUNT)
    return outcome.first_bad and (outcome.first_bad.seq, outcome.first_bad.reason)


def change(ref: TenantRef, seq: int, update: dict[str, Any]) -> None:
    assert mongo.events().update_one({"tenant": ref.id, "seq": seq}, update).matched_count == 1


def remake(ref: TenantRef, seq: int, end: bytes) -> None:
    """Make bytes and hashes anew from a number on, as who has no key can."""
    for document in logged(ref)[seq - 1 :]:
        own = canonical(fields_of(document))
        end = link(end, own)
        change(ref, document["seq"], {"$set": {"canonical": own, "hash": end}})


def test_a_log_that_nobody_changed_is_valid(full: TenantRef) -> None:
    assert found(full) is None


@pytest.mark.parametrize(
    ("seq", "update", "reason"),
    [
        (1, {"$set": {"action": "report.burnt"}}, "edited"),
        (4, {"$set": {"actor.name": "Mallory"}}, "edited"),
        (5, {"$set": {"data.pages": 5.0}}, "edited"),
        (6, {"$set": {"data.extra": None}}, "edited"),
        (7, {"$set": {"ip": b"\\x00"}}, "edited"),
        (8, {"$unset": {"at": 1}}, "edited"),
        (8, {"$set": {"at": "2026-01-01T00:00:00.000Z"}}, "edited"),
        (9, {"$set": {"note": "x"}}, "edited"),
        (10, {"$set": {"canonical": b"{}"}}, "edited"),
        (11, {"$unset": {"canonical": 1}}, "edited"),
        (12, {"$unset": {"hash": 1}}, "edited"),
        (12, {"$set": {"hash": "text"}}, "edited"),
        (12, {"$set": {"id": 5}}, "edited"),
        (3, {"$set": {"seq": 40}}, "deleted"),
        (3, {"$set": {"tenant": "another"}}, "deleted"),
        (12, {"$set": {"tenant": "another"}}, "truncated"),
    ],
)
def test_an_edited_document_is_named(full: TenantRef, seq: int, update: dict[str, Any], reason: str) -> None:
    change(full, seq, update)
    try:
        assert found(full) == (seq, reason)
    finally:
        mongo.events().delete_many({"tenant": "another"})


def test_documents_that_are_missing_are_named(full: TenantRef) -> None:
    mongo.events().delete_many({"tenant": full.id, "seq": {"$gte": 11}})
    assert found(full) == (11, "truncated")
    mongo.events().delete_one({"tenant": full.id, "seq": 6})
    assert found(full) == (6, "deleted")
    mongo.events().delete_many({"tenant": full.id, "seq": {"$lte": 4}})
    assert found(full) == (1, "deleted")
    mongo.events().delete_many({"tenant": full.id})
    assert found(full) == (1, "truncated")


def test_documents_that_changed_places_are_named(full: TenantRef) -> None:
    for seq, to in ((3, 999), (8, 3), (999, 8)):
        change(full, seq, {"$set": {"seq": to}})
    assert found(full) == (3, "reordered")


def test_an_event_that_was_put_in_is_named(full: TenantRef) -> None:
    for seq in range(COUNT, 5, -1):
        change(full, seq, {"$set": {"seq": seq + 1}})
    false = {**logged(full)[0], "_id": f"{full.id}:false", "id": "false", "seq": 6}
    mongo.events().insert_one(false)
    assert found(full) == (6, "inserted")


def test_a_chain_that_was_made_anew_without_the_key_is_named(full: TenantRef) -> None:
    chance = random.Random(19)
    for seq in sorted((chance.randrange(2, COUNT + 1) for _ in range(5)), reverse=True):
        before = bytes(logged(full)[seq - 2]["hash"]) if seq not in {1, 5} else b""
        change(full, seq, {"$set": {"data": {"pages": seq}, "action": "report.burnt"}})
        remake(full, seq, before)
        named = found(full)
        assert named is not None
        assert named[0] == seq
        assert named[1] == ("forged" if seq not in {1, 5} else "edited")


def test_a_signature_that_was_made_by_another_key_is_forged(full: TenantRef) -> None:
    last = LogCheckpoint.objects.order_by("last").last()
    assert last is not None
    LogCheckpoint.objects.filter(pk=last.pk).update(signature=bytes(64))
    assert found_forged(full) == last.first
    said = orjson.loads(bytes(last.statement))
    LogCheckpoint.objects.filter(pk=last.pk).update(statement=canonical({**said, "hash": "00" * 32}))
    assert found_forged(full) == last.first
    LogCheckpoint.objects.filter(pk=last.pk).delete()
    assert found_forged(full) == last.first


def found_forged(ref: TenantRef) -> int:
    bad = verify(ref).first_bad
    assert bad is not None
    assert bad.reason == "forged"
    return bad.seq


def test_verifying_goes_on_where_an_attempt_ended(full: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    from activity import log

    monkeypatch.setattr(log, "READ_AT_ONCE", 5)
    places: list[tuple[dict[str, Any], int, int]] = []
    verify(full, progress=lambda *told: places.append(told))
    assert [(done, total) for _, done, total in places] == [(5, 12), (10, 12), (12, 12)]
    change(full, 2, {"$set": {"ip": "x"}})
    for place, _, _ in places:
        assert verify(full, saved=place).valid  # what was looked at before isn't looked at again
    change(full, 11, {"$set": {"ip": "x"}})
    outcome = verify(full, saved=places[1][0])
    assert outcome.first_bad is not None
    assert (outcome.first_bad.seq, outcome.checked) == (11, 10)


def test_what_other_tenants_have_changes_nothing(full: TenantRef, globex: TenantRef) -> None:
    with context.use_tenant(globex):
        relayed(globex, 1)
    mongo.events().insert_one({**logged(full)[0], "_id": f"{globex.id}:x", "tenant": globex.id, "seq": 13})
    assert found(full) is None
    with context.use_tenant(globex):
        bad = verify(globex).first_bad
        assert bad is not None
        assert (bad.seq, bad.reason) == (13, "inserted")


def test_while_mongodb_is_away_nothing_is_said(full: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymongo.errors import AutoReconnect

    def away() -> None:
        raise AutoReconnect("away")

    with monkeypatch.context() as patched:
        patched.setattr(mongo, "events", away)
        with pytest.raises(LogUnavailable):
            verify(full)
