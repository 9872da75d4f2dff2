"""A log that is proven, in plain values: what Postgres and MongoDB would have of it, to be changed by a test."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from typing import Any

import orjson

from activity.chain.keys import KeyRing, ring
from activity.chain.links import PRINT, canonical, link, opening_link
from activity.chain.statements import Checkpoint, Opening, Signed, Stretch, stretches
from activity.chain.walk import Bad, Entry, Walk

TENANT = "018f0000-0000-7000-8000-000000000001"
AT = "2026-01-01T00:00:00.000Z"
RING = ring("k1:c2lnbnNpZ25zaWduc2lnbnNpZ25zaWduc2lnbnNpZ24=")
ANOTHER = ring("k1:b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q=")

Record = dict[str, Any]  # event (its fields), canonical, hash


def event(seq: int, chance: random.Random) -> dict[str, Any]:
    return {
        "id": f"{seq:08}-0000-7000-8000-{chance.getrandbits(48):012x}",
        "seq": seq,
        "at": AT,
        "action": chance.choice(["report.published", "report.removed"]),
        "actor": {"type": "user", "id": str(chance.randrange(5)), "name": "Zoë"},
        "target": None if seq % 3 else {"type": "report", "id": str(seq), "name": ""},
        "source": "api",
        "request_id": None,
        "ip": None,
        "data": {"pages": chance.randrange(100), "price": chance.random(), "tags": ["a", {"b": None}]},
    }


@dataclass
class ProvenLog:
    """Segments of so many events each, checkpoints of at most `span`. `records` are MongoDB's; the rest is Postgres's, signed."""

    sizes: tuple[int, ...]
    span: int = 7
    seed: int = 1
    signing: KeyRing = RING
    records: list[Record] = field(default_factory=list)
    openings: list[Signed] = field(default_factory=list)
    points: list[tuple[Signed, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        chance, seq = random.Random(self.seed), 0
        previous = None
        for number, size in enumerate(self.sizes, start=1):
            opening = Opening(
                TENANT, number, seq + 1, seq, "rerouted" if previous else "started", "1/1/1", previous, AT
            )
            signed = Signed.of(opening.statement(), self.signing)
            self.openings.append(signed)
            end = opening_link(signed.statement)
            for first in range(seq + 1, seq + size + 1, self.span):
                last, prints = min(first + self.span - 1, opening.first + size - 1), b""
                for seq in range(first, last + 1):
                    made = event(seq, chance)
                    end = link(end, canonical(made))
                    prints += end[:PRINT]
                    self.records.append({"event": made, "canonical": canonical(made), "hash": end})
                point = Checkpoint(TENANT, number, first, last, end, AT)
                self.points.append((Signed.of(point.statement(), self.signing), prints))
            previous = (seq, end.hex())

    def copy(self) -> ProvenLog:
        """Another one like it, to be changed."""
        return copy.deepcopy(self)

    def proven(self) -> list[Stretch]:
        return stretches(TENANT, self.openings, self.points, RING.public)

    def bad(self) -> Bad | None:
        """What the walk finds."""
        walk = Walk(self.proven())
        walk.take(
            Entry(it["event"].get("seq"), it["event"].get("id"), canonical(it["event"]), it["canonical"], it["hash"])
            for it in self.records
        )
        return walk.finish()

    def bad_by_fields_alone(self) -> int | None:
        """The control: what one sees who holds an event's fields against its own stored bytes, and knows of no chain."""
        for it in self.records:
            if canonical(it["event"]) != it["canonical"]:
                return int(it["event"]["seq"])
        return None

    def rechain(self, index: int) -> None:
        """What somebody does who rewrites the log from here on and lacks the key: all fits together again."""
        starts = {sum(self.sizes[:number]): signed.statement for number, signed in enumerate(self.openings)}
        end = b"" if index in starts else self.records[index - 1]["hash"]
        for place, it in enumerate(self.records[index:], start=index):
            if place in starts:
                end = opening_link(starts[place])
            it["canonical"] = canonical(it["event"])
            it["hash"] = end = link(end, it["canonical"])

    def file(self, *, signing: KeyRing | None = None) -> list[bytes]:
        """The lines of its proof file."""
        last = len(self.records)
        said = {"version": 1, "kind": "export", "tenant": TENANT, "first": 1, "last": last, "count": last, "at": AT}
        said["hash"] = self.records[-1]["hash"].hex() if self.records else ""
        lines = [{"kind": "export", **shown(Signed.of(said, signing or self.signing))}]
        lines += [{"kind": "segment", **shown(signed)} for signed in self.openings]
        lines += [{"kind": "checkpoint", **shown(signed), "prints": prints.hex()} for signed, prints in self.points]
        lines += [
            {"kind": "event", "event": it["event"], "canonical": it["canonical"].decode(), "hash": it["hash"].hex()}
            for it in self.records
        ]
        return [orjson.dumps(line) for line in lines]


def shown(signed: Signed) -> dict[str, str]:
    return {"statement": signed.statement.decode(), "key": signed.key, "signature": signed.signature.hex()}
