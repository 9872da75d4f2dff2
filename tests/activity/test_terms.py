"""The tokens that events are found by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activity.search import MAX_ALTERNATIVES, MAX_WORDS, Query, terms_of, words_of

EVENT: dict[str, Any] = {
    "at": "2024-02-29T12:00:00.000Z",
    "action": "invoice.line.sent_again",
    "actor": {"type": "user", "id": "u-1", "name": "Ada Lovelace"},
    "target": {"type": "invoice", "id": "7", "name": ""},
    "source": "api",
    "data": {"note": "Straße", "tags": ["Ada", {"more": "ﬁne"}], "count": 3},
}


def test_an_event_is_found_by_each_of_its_sides() -> None:
    terms = terms_of(EVENT)
    assert terms == [
        "a:invoice.line.sent_again", "a:invoice.", "a:invoice.line.", "u:user:u-1", "t:invoice:7", "s:api",
        "d:2024-02-29", "m:2024-02", "y:2024", "w:ada", "w:lovelace", "w:invoice", "w:line", "w:sent", "w:again",
        "w:strasse", "w:fine", "w:u", "w:1", "w:7",
    ]  # fmt: skip


def test_the_number_and_length_of_words_are_bounded() -> None:
    words = " ".join(f"word{number}" for number in range(1000))
    terms = terms_of(EVENT | {"data": {"long": "x" * 5000, "many": words}})
    assert sum(term.startswith("w:") for term in terms) == MAX_WORDS
    assert max(map(len, terms)) < 80


def test_words_are_compared_without_case_and_form() -> None:
    assert list(words_of("STRASSE straße a.b@EXAMPLE.com")) == ["strasse", "strasse", "a", "b", "example", "com"]


@pytest.mark.parametrize(
    ("days", "kind"), [(0, "d:"), (11, "d:"), (12, "m:"), (300, "m:"), (400, "y:"), (3000, "y:"), (5000, "")]
)
def test_a_range_of_days_is_asked_for_by_few_tokens(days: int, kind: str) -> None:
    start = datetime(2012, 1, 1, tzinfo=UTC)
    conditions = Query(start=start, end=start + timedelta(days=days)).conditions()
    assert [term[:2] for condition in conditions for term in condition.terms[:1]] == ([kind] if kind else [])
    assert all(len(condition.terms) <= MAX_ALTERNATIVES for condition in conditions)
