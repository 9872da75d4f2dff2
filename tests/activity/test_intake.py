"""The quick way makes of an event what the thorough way makes of it, or leaves it alone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from activity.context import Actor, RecordingContext
from activity.errors import EventInvalid
from activity.intake import Reader

AROUND = RecordingContext(actor=Actor("service", "1", "Importer"), request_id="r-1", source="api")

texts = st.text("abé\0\\u0 .", max_size=8) | st.sampled_from(["", "\0", "a\0b", "é", "x" * 16_385, "\\u0000"])
numbers = st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1.0, -0.0])
data = st.recursive(
    st.none() | st.booleans() | texts | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
parties = st.none() | st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "User", "", "a.b", "x" * 51]), "id": texts | st.just("i" * 201)},
    optional={"name": texts | st.just("n" * 301), "more": st.just(1)},
)
MOMENTS = [
    None, "2024-01-31T12:00:00Z", "2024-01-31T12:00:00.123Z", "2024-01-31T12:00:00.1234567Z", "2024-01-31T12:00:00+02:00",
    "2024-13-31T12:00:00Z", "2024-02-30T12:00:00Z", "2024-01-31T24:00:00Z", "2024-01-31T12:00:60Z", "2024-01-31 12:00:00Z",
    "2024-01-31T12:00:00.1Z", "2024-01-31T12:00:00.123456+00:00", "2024-01-31T12:00:00+00:00", "2024-01-31T12:00:00.5+00:00",
    "2024-01-31T12:00:00", "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59.999Z", "today", 5, "٢024-01-31T12:00:00Z",
]  # fmt: skip
ids = st.sampled_from([
    "075c518b-164f-5cb7-bfc2-5ab27274aabf", "075C518B-164F-5CB7-BFC2-5AB27274AABF", "075c518b164f5cb7bfc25ab27274aabf",
    "{075c518b-164f-5cb7-bfc2-5ab27274aabf}", "nope", 7, "075c518b-164f-5cb7-bfc2-5ab27274aabf\n",
])  # fmt: skip
actions = st.sampled_from(
    ["a.b", "commit.pushed", "Nope", "member.removed", "webhook.x", "a", "a.b\n", "x." + "y" * 100, 5, None]
)
events = st.fixed_dictionaries(
    {"id": ids, "at": st.sampled_from(MOMENTS), "action": actions},
    optional={"actor": parties, "target": parties, "data": data, "unknown": st.just(1)},
)


def outcome(read: Any, event: Any) -> Any:
    try:
        return read(event)
    except EventInvalid as refusal:
        return set(refusal.errors)


def deep(levels: int, *, lists: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"x": value}
    return value


GOOD = {"id": "075c518b-164f-5cb7-bfc2-5ab27274aabf", "at": "2024-01-31T12:00:00Z", "action": "a.b"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events)
@example(GOOD | {"data": deep(12)})
@example(GOOD | {"data": deep(13)})
@example(GOOD | {"data": {"x": deep(11, lists=True)}})
@example(GOOD | {"data": {"x": deep(12, lists=True)}})
@example(GOOD | {"data": {"k" * 128: 1}})
@example(GOOD | {"data": {"k" * 129: 1}})
@example(GOOD | {"data": {"": 1}})
@example(GOOD | {"data": {"x": 2.0**53}})
@example(GOOD | {"data": {"x": 2**63}})
def test_both_ways_lead_to_the_same(event: dict[str, Any]) -> None:
    check_both_ways(event)


@pytest.mark.parametrize("at", MOMENTS, ids=str)
def test_both_ways_lead_to_the_same_moment(at: Any) -> None:
    check_both_ways(GOOD | {"at": at})


def check_both_ways(event: dict[str, Any]) -> None:
    reader = Reader(AROUND)
    quick = reader._quick(event)
    if event.get("at") is None and quick is not None:
        event = event | {"at": orjson.loads(quick.encoded)["at"]}
    if quick is not None:
        assert quick == outcome(reader._closely, event)


@pytest.mark.parametrize(
    "event",
    [
        GOOD,
        GOOD | {"actor": {"type": "user", "id": "1"}, "target": {"type": "report", "id": "2", "name": "Two"}},
        GOOD | {"data": {"text": "é", "number": 1.5, "list": [1, None, True, {"x": "y"}]}},
        {"action": "a.b"},
    ],
    ids=str,
)
def test_what_products_send_takes_the_quick_way(event: dict[str, Any]) -> None:
    assert Reader(AROUND)._quick(event) is not None


@pytest.mark.parametrize(
    "event",
    [
        GOOD | {"actor": {"type": "member", "id": "1", "name": "Ada"}},
        GOOD | {"target": {"type": "member", "id": "1", "name": "Ada"}},
        GOOD | {"data": {"email": "ada@example.com"}, "personal": ["data.email"]},
    ],
    ids=["actor", "target", "personal"],
)
def test_what_tells_of_people_is_never_written_as_it_is(event: dict[str, Any]) -> None:
    reader = Reader(AROUND)
    assert reader.tells_of_people([GOOD, event])
    assert not reader.tells_of_people([GOOD])
    assert reader._quick(event) is None
    assert reader.form(event).marks
    with pytest.raises(EventInvalid):
        reader.encoded(event)


def test_a_member_who_sends_an_event_is_a_person() -> None:
    around = RecordingContext(actor=Actor("member", "1", "Ada"), request_id="r-1", source="api")
    assert Reader(around).tells_of_people([GOOD])
    assert Reader(around).form(GOOD).marks


def test_what_is_remembered_of_a_batch_is_bounded() -> None:
    reader = Reader(AROUND)
    for number in range(1_500):
        party = {"type": f"user{number}", "id": str(number)}
        reader.form(GOOD | {"action": f"a.b{number}", "actor": party})
    assert len(reader._actions) == len(reader._kinds) == 1_000
