"""A proof file is verified with the public key alone: no database, no secret, no Django."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from activity.chain.keys import PublicKeys
from activity.chain.offline import FileUnreadable, Verdict, verify_lines
from activity.proof.export import proof_lines
from activity.verify import public_keys
from tenants.refs import TenantRef
from tests.activity.conftest import logged
from tests.activity.mutations import MUTATIONS, Mutation
from tests.activity.proven import ANOTHER, RING, ProvenLog
from tests.activity.test_segments import relayed

ROOT = Path(__file__).resolve().parents[2]
SIZES = (23, 1, 40, 12)


def read(lines: list[bytes]) -> Verdict:
    return verify_lines(lines, RING.public)


def test_a_file_of_a_log_that_nobody_changed_is_valid() -> None:
    for sizes in (SIZES, (1,), (0,), ()):
        verdict = read(ProvenLog(sizes).file())
        assert (verdict.first_bad, verdict.checked) == (None, sum(sizes))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_file_whose_events_were_changed_names_the_first_bad_number(mutation: Mutation) -> None:
    for turn in range(15):
        chance = random.Random(f"{mutation.__name__}/{turn}")
        whole = ProvenLog(SIZES, span=chance.randrange(1, 30), seed=turn)
        log = whole.copy()
        seq, reason = mutation(log, chance)
        statements = 1 + len(whole.openings) + len(whole.points)
        lines = [*whole.file()[:statements], *log.file()[statements:]]
        bad = read(lines).first_bad
        assert bad is not None, turn
        assert (bad.seq, bad.reason) == (seq, reason), turn


def test_lines_that_changed_places_are_named() -> None:
    lines = ProvenLog((20,), span=20).file()
    lines[7], lines[8] = lines[8], lines[7]  # 3 lines of statements come first
    bad = read(lines).first_bad
    assert bad is not None
    assert (bad.seq, bad.reason) == (5, "reordered")
    lines = ProvenLog((20,), span=20).file()
    bad = read([*lines[:9], lines[8], *lines[9:]]).first_bad
    assert bad is not None
    assert (bad.seq, bad.reason) == (6, "inserted")


def test_a_file_that_was_cut_at_a_checkpoint_and_its_statements_too_is_forged() -> None:
    lines = ProvenLog((20,), span=10).file()
    bad = read([*lines[:3], *lines[4:14]]).first_bad  # without the second checkpoint and its events
    assert bad is not None
    assert (bad.seq, bad.reason) == (11, "forged")


def test_a_file_that_another_key_signed_proves_nothing() -> None:
    for lines in (ProvenLog(SIZES, signing=ANOTHER).file(), ProvenLog(SIZES).file(signing=ANOTHER)):
        bad = read(lines).first_bad
        assert bad is not None
        assert (bad.seq, bad.reason) == (1, "forged")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"[]"],
        [b"not json"],
        [b'{"kind": "event"}'],
        [b'{"kind": "export"}'],
        [*ProvenLog((3,)).file()[:1], b'{"kind": "segment", "statement": 5}'],
        [*ProvenLog((3,)).file(), b"{"],
    ],
)
def test_what_is_no_proof_file_is_refused_with_a_sentence(lines: list[bytes]) -> None:
    with pytest.raises(FileUnreadable) as caught:
        read(lines)
    assert str(caught.value).endswith(".")


def test_the_file_of_a_tenants_log_is_valid_and_holds_what_the_log_has(tenant: TenantRef) -> None:
    relayed(tenant, *range(8))
    lines = b"".join(proof_lines(tenant)).splitlines()
    verdict = verify_lines(lines, public_keys())
    assert (verdict.first_bad, verdict.checked, verdict.tenant, verdict.last) == (None, 8, tenant.id, 8)
    events = [json.loads(line)["event"] for line in lines if b'"kind":"event"' in line]
    assert [event["id"] for event in events] == [document["id"] for document in logged(tenant)]


def command(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **(env or {})},
    )


@pytest.mark.parametrize(
    "program", [["manage.py", "activity_verify"], ["-m", "activity.chain"]], ids=["manage.py", "module"]
)
def test_the_command_needs_no_database_and_no_secret(tmp_path: Path, program: list[str]) -> None:
    log = ProvenLog((5, 4))
    file = tmp_path / "proof.ndjson"
    file.write_bytes(b"\n".join(log.file()))
    (key,) = RING.public.texts().values()
    bare: dict[str, Any] = {"env": {"DATA_DIR": str(tmp_path / "none")}}
    done = command(*program, str(file), "--public-key", key, "--json", **bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["checked"] == 9
    assert json.loads(done.stdout)["valid"] is True
    log.records[6]["event"]["action"] = "report.burnt"
    file.write_bytes(b"\n".join(log.file()))
    done = command(*program, str(file), "--public-key", f"k1:{key}", **bare)
    assert done.returncode == 1
    assert "event 7" in done.stdout
    assert "edited" in done.stdout
    done = command(*program, str(file), "--public-key", "nonsense", **bare)
    assert (done.returncode, done.stdout) == (1, "")
    assert "32 bytes" in done.stderr
    assert command(*program, str(tmp_path / "missing"), "--public-key", key, **bare).returncode == 1


def test_public_keys_without_one_are_refused() -> None:
    with pytest.raises(ValueError, match="public key"):
        PublicKeys.parse([])
