"""What is accepted comes back from Postgres and from MongoDB as it was; what they can't hold is refused with its place."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any
from uuid import UUID

import bson
import orjson
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activity.canonical import Document, normal_form
from activity.context import SYSTEM, Actor
from activity.errors import EventInvalid
from activity.events import Target
from tenants.refs import TenantRef

ID = UUID("0190a1b2-0000-7000-8000-000000000001")
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def form(**changes: Any) -> Document:
    values: dict[str, Any] = {
        "id": ID, "at": AT, "action": "report.published", "actor": SYSTEM, "target": None,
        "source": "api", "request_id": None, "ip": None, "data": {},
    }  # fmt: skip
    return normal_form(**values | changes)[0]


def refused(**changes: Any) -> dict[str, list[str]]:
    with pytest.raises(EventInvalid) as caught:
        form(**changes)
    return caught.value.errors


leaves = (
    st.none() | st.booleans() | st.text(max_size=20) | st.floats()
    | st.integers(min_value=-(2**65), max_value=2**65) | st.integers(min_value=-10, max_value=10)
)  # fmt: skip
datas = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=datas)
def test_what_is_accepted_survives_both_databases(tenant: TenantRef, data: dict[str, Any]) -> None:
    try:
        document, encoded = normal_form(
            id=ID, at=AT, action="a.b", actor=SYSTEM, target=None, source="api", request_id=None, ip=None, data=data
        )
    except EventInvalid:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT (%s::jsonb)::text", [encoded.decode()])
        from_postgres = orjson.loads(cursor.fetchone()[0])
    assert from_postgres == document
    assert bson.decode(bson.encode(from_postgres)) == document


def test_moments_are_cut_to_milliseconds_in_utc() -> None:
    at = datetime(2026, 1, 31, 12, 0, 0, 123_999, timezone(timedelta(hours=2)))
    assert form(at=at)["at"] == "2026-01-31T10:00:00.123Z"


def test_values_of_python_become_texts() -> None:
    class Colour(StrEnum):
        RED = "red"

    data = form(data={"id": ID, "at": AT, "colour": Colour.RED, "pair": (1, 2), "zero": -0.0})["data"]
    assert data == {"id": str(ID), "at": "2026-01-31T12:00:00.000Z", "colour": "red", "pair": [1, 2], "zero": 0.0}
    assert type(data["colour"]) is str
    assert math.copysign(1, data["zero"]) == 1


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
        ("x" * 16_385, "16,384"),
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (1e300, "64 bits"),
        (math.nan, "NaN"),
        (math.inf, "infinity"),
        (object(), "object"),
        (b"bytes", "bytes"),
    ],
)
def test_what_cannot_be_held_is_refused_by_its_place(value: Any, sentence: str) -> None:
    errors = refused(data={"list": [1, {"deep": value}]})
    assert list(errors) == ["data.list.1.deep"]
    assert sentence in errors["data.list.1.deep"][0]


@pytest.mark.parametrize("key", ["", "a\0b", "\udfff", "k" * 129, 1])
def test_names_that_cannot_be_held_are_refused(key: Any) -> None:
    assert list(refused(data={"inner": {key: 1}})) == ["data.inner"]


def test_the_limits_of_integers_are_kept() -> None:
    assert form(data={"low": -(2**63), "high": 2**63 - 1})["data"] == {"low": -(2**63), "high": 2**63 - 1}


def test_deep_and_large_events_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"deeper": deep}
    assert "12 levels" in next(iter(refused(data=deep).values()))[0]
    assert "65,536" in refused(data={str(number): "x" * 10_000 for number in range(7)})["data"][0]


@pytest.mark.parametrize(
    "action", ["", "published", "Report.published", "report.", ".published", "report published", "a..b", "a.b\n"]
)
def test_an_action_is_dotted_and_in_lower_case(action: str) -> None:
    assert "action" in refused(action=action)


def test_every_field_that_is_wrong_is_named() -> None:
    errors = refused(
        at=AT.replace(tzinfo=None), actor=Actor("User", ""), target=Target("report", "", "x" * 301), data={"x": 2**63}
    )
    assert set(errors) == {"at", "actor.type", "target.id", "data.x"}


def test_a_moment_beyond_the_calendar_is_refused() -> None:
    assert "at" in refused(at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))))
