"""Scenario 19: whatever is changed in a log by hand, the walk names the first number that isn't as it was signed, and why."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from activity.chain.keys import PublicKeys
from activity.chain.links import canonical
from activity.chain.statements import Checkpoint, Forged, Signed
from activity.chain.walk import Bad
from tests.activity.mutations import MUTATIONS, Mutation, forge_from_here_on
from tests.activity.proven import ANOTHER, AT, RING, TENANT, ProvenLog

SEED = int(os.environ.get("CHAIN_SEED", "19"))
SIZES = (23, 1, 40, 12)
ROUNDS = 40  # of each mutation; `make scenarios` runs ALL_ROUNDS
ALL_ROUNDS = 1_500


def named(mutation: Mutation, rounds: int) -> tuple[int, list[str]]:
    """How many of the mutations the control missed, and what the walk named wrongly."""
    missed, wrong = 0, []
    for turn in range(rounds):
        chance = random.Random(f"{SEED}/{mutation.__name__}/{turn}")
        log = ProvenLog(SIZES, span=chance.randrange(1, 30), seed=turn)
        seq, reason = mutation(log, chance)
        found = log.bad()
        if found is None or (found.seq, found.reason) != (seq, reason):
            wrong.append(f"turn {turn} (seed {SEED}): event {seq} was {reason}, and the walk says {found}")
        missed += log.bad_by_fields_alone() is None
    return missed, wrong


def test_a_log_that_nobody_changed_is_valid() -> None:
    for sizes in ((1,), (5,), SIZES, (3, 0, 4), (0,), ()):
        log = ProvenLog(sizes)
        assert log.bad() is None, sizes


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_first_bad_number_is_named(mutation: Mutation) -> None:
    _, wrong = named(mutation, ROUNDS)
    assert wrong == []


@pytest.mark.scenario
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_first_bad_number_is_named_every_time(mutation: Mutation) -> None:
    missed, wrong = named(mutation, ALL_ROUNDS)
    print(
        f"\n{mutation.__name__}: {ALL_ROUNDS} mutations with seed {SEED}, {len(wrong)} wrong; without the chain {missed} missed"
    )
    assert wrong == []


def test_without_the_chain_most_changes_are_missed() -> None:
    """The control: each event's own bytes say nothing of those that are gone, that came in, or that were made anew."""
    missed = {mutation.__name__ for mutation in MUTATIONS if named(mutation, 10)[0] == 10}
    assert missed >= {
        "edit_with_its_bytes", "edit_the_hash", "delete_one", "delete_a_segment", "insert_at_the_end", "swap_contents",
        "truncate", "truncate_the_last_segment", "forge_from_here_on", "forge_the_last",
    }  # fmt: skip


def test_without_signatures_a_forged_chain_passes() -> None:
    """The control of the signatures: who has the log alone, and makes the chain anew, deceives one who checks links alone."""
    log = ProvenLog((20,))
    forge_from_here_on(log, random.Random(1))
    remade = ProvenLog((20,))
    remade.records = log.records
    points, prints = [], b"".join(it["hash"][:4] for it in log.records)
    points.append((Signed.of(Checkpoint(TENANT, 1, 1, 20, log.records[-1]["hash"], AT).statement(), ANOTHER), prints))
    remade.points = points
    with pytest.raises(Forged):
        remade.bad()  # the points are signed by somebody else
    remade.points = [(Signed.of(Checkpoint(TENANT, 1, 1, 20, log.records[-1]["hash"], AT).statement(), RING), prints)]
    assert remade.bad() is None  # with the key it would have been the log's own


def test_a_statement_that_was_changed_is_forged() -> None:
    log = ProvenLog(SIZES)
    signed, prints = log.points[2]
    log.points[2] = (replace(signed, statement=signed.statement.replace(b'"last":21', b'"last":22')), prints)
    with pytest.raises(Forged) as caught:
        log.proven()
    assert caught.value.seq == 15


def test_a_checkpoint_or_a_segment_that_is_missing_is_noticed() -> None:
    for index in range(3):
        log = ProvenLog(SIZES)
        del log.points[index]
        with pytest.raises(Forged):
            log.proven()
    for index in range(len(SIZES)):
        log = ProvenLog(SIZES)
        del log.openings[index]
        with pytest.raises(Forged):
            log.proven()


def test_statements_of_another_tenant_prove_nothing() -> None:
    log = ProvenLog(SIZES)
    with pytest.raises(Forged):
        from activity.chain.statements import stretches

        stretches("another", log.openings, log.points, RING.public)


def test_without_prints_the_checkpoint_still_gives_it_away() -> None:
    log = ProvenLog((20,), span=10)
    log.points = [(signed, b"") for signed, _ in log.points]
    log.records[3]["event"]["data"] = {"pages": -1}
    log.rechain(3)
    assert log.bad() == Bad(10, log.records[9]["event"]["id"], "forged")


def test_a_key_that_was_renewed_still_verifies() -> None:
    old, new = ProvenLog((5,), signing=ANOTHER), ProvenLog((5,))
    keys = PublicKeys.parse([*(f"old:{key}" for key in ANOTHER.public.texts().values()), *RING.public.texts().values()])
    assert keys.have_signed("k1", new.openings[0].signature, new.openings[0].statement)
    assert keys.have_signed("old", old.openings[0].signature, old.openings[0].statement)
    assert not keys.have_signed("k1", old.openings[0].signature, old.openings[0].statement)


def test_canonical_bytes_are_those_that_the_page_of_the_documentation_shows() -> None:
    event = {
        "seq": 7, "id": "018f", "at": "2026-01-31T12:00:00.000Z", "action": "report.published",
        "actor": {"type": "user", "id": "7", "name": "Zoë"}, "target": None, "source": "api",
        "request_id": None, "ip": None, "data": {"z": 1, "a": 1.5, "n": 1e-7, "one": 1.0},
    }  # fmt: skip
    assert canonical(event).decode() == (
        '{"action":"report.published","actor":{"id":"7","name":"Zoë","type":"user"},"at":"2026-01-31T12:00:00.000Z",'
        '"data":{"a":1.5,"n":1e-7,"one":1.0,"z":1},"id":"018f","ip":null,"request_id":null,"seq":7,"source":"api","target":null}'
    )
