"""Every way to change a log by hand: each mutation changes records in place and says which number it made bad first, and why."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from activity.chain.links import canonical, link
from tests.activity.proven import ProvenLog, event

Mutation = Callable[[ProvenLog, random.Random], tuple[int, str]]


def _changed(value: Any, chance: random.Random) -> Any:
    """Another value of about the same kind."""
    if isinstance(value, dict) and value:
        name = chance.choice(sorted(value))
        return {**value, name: _changed(value[name], chance)}
    if isinstance(value, list) and value:
        return [*value[:-1], _changed(value[-1], chance)]
    if isinstance(value, bool) or value is None:
        return "x"
    if isinstance(value, int):
        return float(value) if chance.random() < 0.3 else value + 1  # 1 and 1.0 are not the same
    if isinstance(value, float):
        return value * 1.0000001
    return f"{value}x"


def edit_a_field(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    index = chance.randrange(len(log.records))
    fields = log.records[index]["event"]
    name = chance.choice([name for name in fields if name != "seq"])
    fields[name] = _changed(fields[name], chance)
    return index + 1, "edited"


def add_a_field(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    index = chance.randrange(len(log.records))
    log.records[index]["event"]["note"] = "x"
    return index + 1, "edited"


def drop_a_field(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    index = chance.randrange(len(log.records))
    fields = log.records[index]["event"]
    del fields[chance.choice([name for name in fields if name != "seq"])]
    return index + 1, "edited"


def edit_with_its_bytes(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    seq, _ = edit_a_field(log, chance)
    it = log.records[seq - 1]
    it["canonical"] = canonical(it["event"])
    return seq, "edited"


def edit_the_bytes(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    index = chance.randrange(len(log.records))
    log.records[index]["canonical"] += b" "
    return index + 1, "edited"


def edit_the_hash(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    index = chance.randrange(len(log.records))
    log.records[index]["hash"] = chance.randbytes(32)
    return index + 1, "edited"


def delete_one(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    index = chance.randrange(len(log.records) - 1)
    del log.records[index]
    return index + 1, "deleted"


def delete_one_and_close_the_gap(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    seq, _ = delete_one(log, chance)
    for it in log.records[seq - 1 :]:
        it["event"]["seq"] -= 1
        if log.seed % 2:
            it["canonical"] = canonical(it["event"])
    return seq, "deleted"


def delete_a_segment(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    del log.records[: log.sizes[0]]
    return 1, "deleted"


def insert_one(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    index = chance.randrange(len(log.records))
    for it in log.records[index:]:
        it["event"]["seq"] += 1
        if log.seed % 2:
            it["canonical"] = canonical(it["event"])
    false = event(index + 1, chance)
    log.records.insert(index, {"event": false, "canonical": canonical(false), "hash": chance.randbytes(32)})
    return index + 1, "inserted"


def insert_at_the_end(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    false = event(len(log.records) + 1, chance)
    end = link(log.records[-1]["hash"], canonical(false))
    log.records.append({"event": false, "canonical": canonical(false), "hash": end})
    return len(log.records), "inserted"


def swap_numbers(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    first, second = sorted(chance.sample(range(len(log.records)), 2))
    ours, theirs = log.records[first]["event"], log.records[second]["event"]
    ours["seq"], theirs["seq"] = theirs["seq"], ours["seq"]
    log.records[first], log.records[second] = log.records[second], log.records[first]
    return first + 1, "reordered"


def swap_contents(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    seq, _ = swap_numbers(log, chance)
    for it in log.records:
        it["canonical"] = canonical(it["event"])
    return seq, "reordered"


def truncate(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    count = chance.randrange(len(log.records))
    del log.records[count:]
    return count + 1, "truncated"


def truncate_the_last_segment(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    del log.records[-log.sizes[-1] :]
    return len(log.records) + 1, "truncated"


def forge_from_here_on(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    """An event is edited, and all bytes and hashes after it are made anew, as anybody can who has no key."""
    index = chance.randrange(len(log.records))
    log.records[index]["event"]["data"] = {"pages": -1}
    log.rechain(index)
    return index + 1, "forged"


def forge_the_last(log: ProvenLog, chance: random.Random) -> tuple[int, str]:
    log.records[-1]["event"]["action"] = "report.burnt"
    log.rechain(len(log.records) - 1)
    return len(log.records), "forged"


MUTATIONS: list[Mutation] = [
    edit_a_field, add_a_field, drop_a_field, edit_with_its_bytes, edit_the_bytes, edit_the_hash, delete_one,
    delete_one_and_close_the_gap, delete_a_segment, insert_one, insert_at_the_end, swap_numbers, swap_contents, truncate,
    truncate_the_last_segment, forge_from_here_on, forge_the_last,
]  # fmt: skip
