"""The walk along the chain: each event is held against its own bytes, the link before it, and what was signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import orjson

from activity.chain.links import PRINT
from activity.chain.statements import Stretch

Why = Literal["edited", "deleted", "inserted", "reordered", "forged", "truncated"]


@dataclass(frozen=True, slots=True)
class Bad:
    """The first event that isn't as it was when it was signed. `id` is that of the event which is there now, if one is."""

    seq: int
    id: str | None
    reason: Why


class Entry(NamedTuple):
    """An event as it is found: its fields as canonical bytes, and the bytes and the hash that were stored with it."""

    seq: Any
    id: Any
    own: bytes
    stored: bytes | None
    hash: bytes | None


class Walk:
    """Walks from `first` on, in the order of the numbers; stops at the first event that is bad.

    `link` is that of the event before `first`; left out, the stretch that begins there says it.
    """

    def __init__(self, stretches: Sequence[Stretch], *, first: int = 1, link: bytes | None = None) -> None:
        self._stretches = [stretch for stretch in stretches if stretch.last >= first]
        self.last = self._stretches[-1].last if self._stretches else first - 1
        self.position = first
        self.link = link or b""
        self.checked = 0
        self.bad: Bad | None = None
        self._suspect: Entry | None = None
        self._index = 0
        if self._stretches:
            stretch = self._stretches[0]
            if link is None and stretch.first == first:
                self.link = stretch.start
            elif link is None:
                self.bad = Bad(first, None, "forged")  # it can't be known what was before

    def take(self, entries: Iterable[Entry]) -> bool:
        """Look at the next events; returns whether all is well so far."""
        if self.bad is not None:
            return False
        for entry in entries:
            if self._suspect is not None:
                self._name(self._suspect, entry)
                return False
            if entry.seq != self.position or not self._holds(entry):
                self._suspect = entry  # what is wrong with it, the next one helps to tell
        return True

    def finish(self) -> Bad | None:
        """Say that there are no more events; returns the first bad one."""
        if self.bad is None and self._suspect is not None:
            self._name(self._suspect, None)
        if self.bad is None and self.position <= self.last:
            self.bad = Bad(self.position, None, "truncated")
        return self.bad

    def _holds(self, entry: Entry) -> bool:
        """Whether the event is the one that was signed at this place; then the walk has gone on behind it."""
        if self.position > self.last or (entry.own != entry.stored and entry.stored is not None):
            return False
        stretch = self._stretches[self._index]
        while self.position > stretch.last:
            self._index += 1
            stretch = self._stretches[self._index]
        if self.position == stretch.first:
            self.link = stretch.start
        link = sha256(self.link + entry.own).digest()
        if self.position > stretch.adopted and (link != entry.hash or entry.stored is None):
            return False
        if stretch.prints:
            offset = (self.position - stretch.first) * PRINT
            if link[:PRINT] != stretch.prints[offset : offset + PRINT]:
                return False
        if self.position == stretch.last and link != stretch.hash:
            return False
        self.link = link
        self.position += 1
        self.checked += 1
        return True

    def _name(self, entry: Entry, following: Entry | None) -> None:
        """Say what is wrong with an event, by what follows it."""
        expected, why = self.position, self._why(entry, following)
        missing = why in {"deleted", "truncated"}
        is_beyond = isinstance(entry.seq, int) and (entry.seq < expected or expected > self.last)
        event_id = None if missing or entry.id is None else str(entry.id)
        self.bad = Bad(entry.seq if is_beyond else expected, event_id, why)

    def _why(self, entry: Entry, following: Entry | None) -> Why:
        expected = self.position
        if expected > self.last or not isinstance(entry.seq, int) or entry.seq < expected:
            return "inserted"
        if entry.seq > expected:
            return "reordered" if following is not None and following.seq == expected else "deleted"
        claimed = self._claimed(entry)
        behind = following and self._claimed(following)
        if claimed is not None and claimed != expected:
            if claimed == expected + 1 and behind in {expected + 2, None}:
                return "deleted"  # and the gap was closed
            is_copy = claimed < expected and behind == expected
            return "inserted" if is_copy else "reordered"
        if behind == expected:
            return "inserted"
        is_consistent = entry.own == entry.stored and entry.hash == sha256(self.link + entry.own).digest()
        return "forged" if is_consistent else "edited"

    def _claimed(self, entry: Entry) -> int | None:
        """The number under which an event was signed, by its hash, else by its stored bytes; None when neither tells."""
        if entry.hash:
            for stretch in self._stretches:
                prints, mark = stretch.prints, entry.hash[:PRINT]
                offset = prints.find(mark)
                while offset % PRINT and offset > 0:
                    offset = prints.find(mark, offset + 1)
                if offset >= 0:
                    return stretch.first + offset // PRINT
        try:
            said = orjson.loads(entry.stored or b"")
        except orjson.JSONDecodeError:
            return None
        seq = said.get("seq") if isinstance(said, Mapping) else None
        return seq if isinstance(seq, int) else None
