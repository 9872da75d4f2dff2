"""Verifying a proof file: NDJSON that holds events and what was signed of them. All that is trusted is the public key.

docs/activity.md has the format, line by line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from activity.chain.keys import PublicKeys
from activity.chain.links import canonical
from activity.chain.statements import Forged, Signed, stretches
from activity.chain.walk import Bad, Entry, Walk


class FileUnreadable(Exception):
    """Raised when a file isn't a proof file, or a line of it can't be read. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a proof file proves: whose log, from which number to which, as of when; and the first event that is bad, if any."""

    tenant: str
    first: int
    last: int
    at: str
    checked: int
    first_bad: Bad | None


def verify_lines(lines: Iterable[bytes], keys: PublicKeys) -> Verdict:
    """Verify the lines of a proof file. Raises FileUnreadable."""
    reader = _lines(lines)
    head = next(reader, None)
    if head is None or head[1].get("kind") != "export":
        raise FileUnreadable("The file doesn't begin with the line of an export: it is no proof file.")
    openings: list[Signed] = []
    points: list[tuple[Signed, bytes]] = []
    first_event = None
    for number, line in reader:
        if line.get("kind") == "segment":
            openings.append(_signed(number, line))
        elif line.get("kind") == "checkpoint":
            points.append((_signed(number, line), _hex(line.get("prints"))))
        else:
            first_event = (number, line)
            break
    said: dict[str, Any] = {"tenant": "", "first": 1, "last": 0, "at": ""}
    try:
        said = _signed(*head).opened(keys, 1)
        if said.get("kind") != "export":
            raise Forged(1, "What is signed first isn't an export.")
        proven = stretches(said["tenant"], openings, points, keys)
    except Forged as forged:
        bad = Bad(max(forged.seq, said["first"]), None, "forged")
        return Verdict(said["tenant"], said["first"], said["last"], said["at"], 0, bad)
    walk = Walk(proven, first=said["first"])
    events = _entries(reader) if first_event is None else _entries(_with(first_event, reader))
    walk.take(events)
    found = walk.finish()
    if found is None and (walk.last != said["last"] or walk.link.hex() != said["hash"]):
        found = Bad(walk.last + 1, None, "forged")
    return Verdict(said["tenant"], said["first"], said["last"], said["at"], walk.position - said["first"], found)


def _lines(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise FileUnreadable(f"Line {number} isn't JSON.") from None
        if not isinstance(read, dict):
            raise FileUnreadable(f"Line {number} isn't an object.")
        yield number, read


def _with(
    first: tuple[int, dict[str, Any]], rest: Iterator[tuple[int, dict[str, Any]]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    yield first
    yield from rest


def _signed(number: int, line: dict[str, Any]) -> Signed:
    try:
        return Signed(line["statement"].encode(), str(line["key"]), bytes.fromhex(line["signature"]))
    except (KeyError, AttributeError, ValueError, TypeError):
        raise FileUnreadable(f"Line {number} is no signed statement.") from None


def _entries(lines: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Entry]:
    for _, line in lines:
        event, stored = line.get("event"), line.get("canonical")
        seq = event.get("seq") if isinstance(event, dict) else None
        event_id = event.get("id") if isinstance(event, dict) else None
        own = canonical(event) if isinstance(event, dict) else b""
        bytes_of = stored.encode() if isinstance(stored, str) else b""
        yield Entry(seq, event_id, own, bytes_of, _hex(line.get("hash")))


def _hex(value: Any) -> bytes:
    """Bytes from hexadecimal digits; none from anything else, which then fits nothing."""
    try:
        return bytes.fromhex(value or "")
    except (ValueError, TypeError):
        return b""
