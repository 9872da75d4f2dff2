"""What is signed: that a segment was opened, and how far its chain goes. Only what a statement's own bytes say is ever trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from activity.chain.keys import KeyRing, PublicKeys
from activity.chain.links import PRINT, canonical, opening_link

Reason = Literal["started", "rerouted", "restored", "cloned"]
VERSION: Final = 1


class Forged(Exception):
    """Raised when statements aren't signed by a key that is known, or don't fit together. `seq`: the first event that isn't proven."""

    def __init__(self, seq: int, sentence: str) -> None:
        super().__init__(sentence)
        self.seq = seq
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement's bytes, with the signature and the id of the key that made it."""

    statement: bytes
    key: str
    signature: bytes

    @classmethod
    def of(cls, statement: Mapping[str, Any], ring: KeyRing) -> Signed:
        """Sign a statement."""
        encoded = canonical(statement)
        return cls(encoded, *ring.sign(encoded))

    def opened(self, keys: PublicKeys, seq: int) -> dict[str, Any]:
        """What it says. Raises Forged, at `seq`."""
        if not keys.have_signed(self.key, self.signature, self.statement):
            raise Forged(seq, f"A statement isn't signed by the key {self.key!r}.")
        said: dict[str, Any] = orjson.loads(self.statement)
        if said.get("version") != VERSION:
            raise Forged(seq, "A statement has a version that isn't known here.")
        return said


@dataclass(frozen=True, slots=True)
class Opening:
    """A segment was opened at `first`. `previous` is where the chain before it ended: its last number and hash, None at the very start.

    `adopted`: events from `first` to this one were found in MongoDB when the segment was opened, and are proven from then on; their own
    `hash` is of a chain that Postgres no longer knows. It is `first` - 1 when there were none.
    """

    tenant: str
    segment: int
    first: int
    adopted: int
    reason: Reason
    route: str
    previous: tuple[int, str] | None
    at: str

    def statement(self) -> dict[str, Any]:
        """What is signed."""
        previous = self.previous and {"last": self.previous[0], "hash": self.previous[1]}
        return {
            "version": VERSION, "kind": "segment", "tenant": self.tenant, "segment": self.segment, "first": self.first,
            "adopted": self.adopted, "reason": self.reason, "route": self.route, "previous": previous, "at": self.at,
        }  # fmt: skip

    @classmethod
    def said(cls, said: Mapping[str, Any]) -> Opening:
        """The opening that a statement tells of."""
        previous = said["previous"] and (said["previous"]["last"], said["previous"]["hash"])
        names = ("tenant", "segment", "first", "adopted", "reason", "route", "at")
        return cls(**{name: said[name] for name in names}, previous=previous)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The events from `first` to `last` of a segment end in the link `hash`. `prints` isn't signed: the beginnings of their links."""

    tenant: str
    segment: int
    first: int
    last: int
    hash: bytes
    at: str
    prints: bytes = b""

    def statement(self) -> dict[str, Any]:
        """What is signed."""
        return {
            "version": VERSION, "kind": "checkpoint", "tenant": self.tenant, "segment": self.segment,
            "first": self.first, "last": self.last, "count": self.last - self.first + 1, "hash": self.hash.hex(),
            "at": self.at,
        }  # fmt: skip

    @classmethod
    def said(cls, said: Mapping[str, Any], prints: bytes) -> Checkpoint:
        """The checkpoint that a statement tells of."""
        names = ("tenant", "segment", "first", "last", "at")
        return cls(**{name: said[name] for name in names}, hash=bytes.fromhex(said["hash"]), prints=prints)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events whose links are proven together: from `first` to a checkpoint. `start`: the link before them."""

    first: int
    last: int
    start: bytes
    hash: bytes
    prints: bytes
    adopted: int


def stretches(
    tenant: str, openings: list[Signed], checkpoints: list[tuple[Signed, bytes]], keys: PublicKeys
) -> list[Stretch]:
    """What the statements prove of a tenant's log, in the order of numbers, without a hole; `checkpoints` come with their prints.

    Raises Forged.
    """
    found: list[Stretch] = []
    opened = [(Opening.said(signed.opened(keys, 1)), opening_link(signed.statement)) for signed in openings]
    opened.sort(key=lambda pair: pair[0].segment)
    position, link = 1, b""
    current: Opening | None = None
    for signed, prints in checkpoints:
        checkpoint = Checkpoint.said(signed.opened(keys, position), prints)
        if current is None or checkpoint.segment != current.segment:
            while opened and (current is None or current.segment < checkpoint.segment):
                current, start = _entered(tenant, current, opened.pop(0), position, link)
                position, link = current.first, start
        if current is None or (checkpoint.tenant, checkpoint.segment, checkpoint.first) != (
            tenant, current.segment, position,
        ):  # fmt: skip
            raise Forged(position, f"No checkpoint tells of event {position}.")
        if checkpoint.prints and len(checkpoint.prints) != PRINT * (checkpoint.last - checkpoint.first + 1):
            raise Forged(position, "A checkpoint's prints are not those of its events.")
        found.append(Stretch(position, checkpoint.last, link, checkpoint.hash, checkpoint.prints, current.adopted))
        position, link = checkpoint.last + 1, checkpoint.hash
    for pair in opened:  # one that was opened and has no event yet
        current, link = _entered(tenant, current, pair, position, link)
        position = current.first
    return found


def _entered(
    tenant: str, former: Opening | None, pair: tuple[Opening, bytes], position: int, link: bytes
) -> tuple[Opening, bytes]:
    """The next segment, and the link at its start. It must go on where the one before ended, unless it is the first that is there."""
    opening, start = pair
    if opening.tenant != tenant:
        raise Forged(position, "A segment is another tenant's.")
    if former is not None:
        is_next = opening.segment == former.segment + 1 and opening.first == position
        # The one before may be without an event: then its start is what the statement tells of.
        if not is_next or opening.previous != (position - 1, link.hex()):
            raise Forged(
                position, f"The segment that begins at {opening.first} doesn't go on where the one before ended."
            )
    return opening, start
