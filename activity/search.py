"""Search by terms: each event carries a bounded list of tokens, and a filter asks for one of them and a range of `seq`.

A token says what it is by its first letter: `a:` the action, and each prefix of it that ends in a dot; `u:` the actor and `t:` the
target as type:id; `s:` the source; `d:`, `m:` and `y:` the day, month and year in UTC; `w:` a word; `p:` the digest
of a person of whom it tells (activity.personal).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

Order = Literal["newest", "oldest"]

MAX_WORDS: Final = 48  # of an event; further ones can't be found by
MAX_WORD: Final = 64  # characters; of a longer word the beginning counts
MAX_ALTERNATIVES: Final = 12
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter as tokens, of which an event must have one. Of two conditions the one of lower `rank` is likely the rarer."""

    terms: tuple[str, ...]
    rank: int

    def holds(self, terms: frozenset[str]) -> bool:
        """Whether an event with these terms meets it."""
        return any(term in terms for term in self.terms)


# What nothing can meet: this token is no event's.
_NOTHING: Final = Condition(("w:",), -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked of the log. All of it must hold; `start` and `end` (of `at`) are included."""

    action: str | None = None  # exact, or a prefix when it ends in a dot
    actor: str | None = None  # type:id
    target: str | None = None
    actor_digest: str | None = None  # the same, where an event's id gave way to a digest (activity.personal)
    target_digest: str | None = None
    source: str | None = None
    q: str | None = None  # words, all of which must be there, in any order, without case
    start: datetime | None = None
    end: datetime | None = None
    order: Order = "newest"

    def conditions(self) -> list[Condition]:
        """The filters as tokens."""
        found = []
        if self.target:
            found.append(Condition(_either("t", self.target, self.target_digest), 0))
        if self.actor:
            found.append(Condition(_either("u", self.actor, self.actor_digest), 1))
        if self.q:
            words = sorted(set(words_of(self.q)), key=len, reverse=True)
            found += [Condition((f"w:{word}",), 2 + index) for index, word in enumerate(words)] or [_NOTHING]
        if self.action:
            found.append(Condition((f"a:{self.action}",), 101 if self.action.endswith(".") else 100))
        if self.start and self.end:
            days = _covering(self.start, self.end)
            found += [Condition(days, 102)] if days else [_NOTHING] if self.start > self.end else []
        if self.source:
            found.append(Condition((f"s:{self.source}",), 103))
        return found

    def in_time(self, at: datetime) -> bool:
        """Whether a moment is within the range that was asked for."""
        return not ((self.start and at < self.start) or (self.end and at > self.end))


def _either(letter: str, party: str, digest: str | None) -> tuple[str, ...]:
    return (f"{letter}:{party}",) if digest is None else (f"{letter}:{party}", f"{letter}:{digest}")


def terms_of(event: Mapping[str, Any]) -> list[str]:
    """The tokens of an event in its normal form."""
    action, actor, target, at = event["action"], event["actor"], event["target"], event["at"]
    terms = [f"a:{action}", *(f"a:{action[: dot.end()]}" for dot in re.finditer(r"\.", action))]
    terms.append(f"u:{actor['type']}:{actor['id']}")
    if target:
        terms.append(f"t:{target['type']}:{target['id']}")
    terms += [f"s:{event['source']}", f"d:{at[:10]}", f"m:{at[:7]}", f"y:{at[:4]}"]
    words: dict[str, None] = {}
    for text in _texts(event):
        for word in words_of(text):
            words[word] = None
            if len(words) == MAX_WORDS:
                break
        else:
            continue
        break
    return [*terms, *(f"w:{word}" for word in words)]


def words_of(text: str) -> Iterator[str]:
    """The words of a text, without case, as they are compared."""
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        yield word[:MAX_WORD]


def _texts(event: Mapping[str, Any]) -> Iterator[str]:
    """What words are taken from, the most telling first."""
    actor, target = event["actor"], event["target"]
    yield actor["name"]
    if target:
        yield target["name"]
    yield event["action"].replace("_", " ").replace("-", " ")
    yield from _leaves(event["data"])
    yield actor["id"]
    if target:
        yield target["id"]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)


def _covering(start: datetime, end: datetime) -> tuple[str, ...]:
    """Days, months or years that cover the range, few enough to ask for one by one; empty when there would be too many."""
    if start > end:
        return ()
    first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
    days = (last - first).days + 1
    if days <= MAX_ALTERNATIVES:
        return tuple(f"d:{first + timedelta(days=number)}" for number in range(days))
    months = _months(first, last)
    if len(months) <= MAX_ALTERNATIVES:
        return tuple(f"m:{month}" for month in months)
    if last.year - first.year < MAX_ALTERNATIVES:
        return tuple(f"y:{year:04}" for year in range(first.year, last.year + 1))
    return ()


def _months(first: date, last: date) -> list[str]:
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    numbers = range(first.month - 1, first.month - 1 + min(count, MAX_ALTERNATIVES + 1))
    return [f"{first.year + number // 12:04}-{number % 12 + 1:02}" for number in numbers]
