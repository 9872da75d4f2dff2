"""The normal form of an event, which Postgres's jsonb and MongoDB's BSON both hold and give back unchanged.

What they can't hold is refused here, when the event is recorded, and never later by the relay. Moments are cut to milliseconds in UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import orjson

from activity.context import Actor
from activity.errors import EventInvalid
from activity.events import Target

MAX_EVENT_BYTES: Final = 64 * 1024
MAX_STRING: Final = 16_384  # characters
MAX_KEY: Final = 128
MAX_DEPTH: Final = 12
MAX_ACTION: Final = 100
MAX_TYPE: Final = 50
MAX_ID: Final = 200
MAX_NAME: Final = 300
PERSONAL: Final = "$personal"  # the one name of a personal value (activity.personal), which no data may use
SOURCES: Final = ("ui", "api", "job", "system")

ACTION: Final = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+")
TYPE: Final = re.compile(r"[a-z][a-z0-9_.-]*")
_INT64: Final = 2**63

Document = dict[str, Any]


class _Refused(ValueError):
    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path
        self.sentence = sentence


def normal_form(
    *,
    id: UUID,  # noqa: A002  the field's name
    at: datetime,
    action: str,
    actor: Actor,
    target: Target | None,
    source: str,
    request_id: str | None,
    ip: str | None,
    data: Mapping[str, Any],
) -> tuple[Document, bytes]:
    """The event's document, and the same as JSON. Raises EventInvalid with every field that can't be held."""
    errors: dict[str, list[str]] = {}
    document: Document = {"id": str(id)}

    def take(field: str, value: Any) -> None:
        try:
            document[field] = value() if callable(value) else value
        except _Refused as refusal:
            errors.setdefault(refusal.path, []).append(refusal.sentence)

    take("at", lambda: _moment(at, "at"))
    take("action", lambda: _action(action))
    take("actor", lambda: _party(actor, "actor"))
    take("target", lambda: None if target is None else _party(target, "target"))
    take("source", lambda: _source(source))
    take("request_id", lambda: None if request_id is None else _text(request_id, "request_id", MAX_ID))
    take("ip", lambda: None if ip is None else _text(ip, "ip", MAX_ID))
    take("data", lambda: _mapping(data, "data", 1))
    if errors:
        raise EventInvalid(errors)
    encoded = orjson.dumps(document)
    if len(encoded) > MAX_EVENT_BYTES:
        raise EventInvalid({"data": [f"The event has {len(encoded):,} bytes; at most {MAX_EVENT_BYTES:,} are kept."]})
    return document, encoded


def plain_form(value: Any, path: str) -> Any:
    """A value as it would be kept within an event's data. Raises EventInvalid for what can't be held, by its place below `path`."""
    try:
        return _value(value, path, 0)
    except _Refused as refusal:
        raise EventInvalid({refusal.path: [refusal.sentence]}) from None


def moment_text(at: datetime) -> str:
    """A moment in its normal form: UTC, in milliseconds, of fixed width, so that texts sort as moments do."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(at: datetime, path: str) -> str:
    if at.tzinfo is None:
        raise _Refused(path, "Give the offset from UTC, as in 2026-01-31T12:00:00Z.")
    try:
        return moment_text(at)
    except OverflowError:
        raise _Refused(path, "The moment lies outside the years 1 to 9999 in UTC.") from None


def _action(action: str) -> str:
    text = _text(action, "action", MAX_ACTION)
    if not ACTION.fullmatch(text):
        raise _Refused("action", "Use lower-case words joined by dots, as in report.published.")
    return text


def _source(source: str) -> str:
    if source not in SOURCES:
        raise _Refused("source", f"Use one of {', '.join(SOURCES)}.")
    return source


def _party(party: Actor | Target, path: str) -> dict[str, str]:
    kind = _text(party.type, f"{path}.type", MAX_TYPE)
    if not TYPE.fullmatch(kind):
        raise _Refused(
            f"{path}.type", "Use lower-case letters, digits, dots, hyphens and underscores, beginning with a letter."
        )
    identity = _text(party.id, f"{path}.id", MAX_ID)
    if not identity:
        raise _Refused(f"{path}.id", "Say which one.")
    return {"type": kind, "id": identity, "name": _text(party.name, f"{path}.name", MAX_NAME)}


def _text(value: str, path: str, limit: int) -> str:
    text = str(value)
    if len(text) > limit:
        raise _Refused(path, f"Use at most {limit:,} characters; this has {len(text):,}.")
    if "\0" in text:
        raise _Refused(path, "The character NUL can't be kept.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Refused(path, "Half a surrogate pair is no character and can't be kept.") from None
    return text


def _mapping(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    _check_depth(path, depth)
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str) or not key:
            raise _Refused(path, "Names must be texts that aren't empty.")
        if key == PERSONAL:
            raise _Refused(path, f"The name {PERSONAL} is kept for Tenantry itself.")
        kept[_text(key, path, MAX_KEY)] = _value(item, f"{path}.{key}", depth)
    return kept


def _value(value: Any, path: str, depth: int) -> Any:
    """The order of the tests matters: an Enum may be a str, a bool is an int, a datetime is a date."""
    if isinstance(value, Enum):
        return _value(value.value, path, depth)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path, MAX_STRING)
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise _Refused(path, "Whole numbers must fit 64 bits; send it as a text.")
        return int(value)
    if isinstance(value, float):
        return _float(value, path)
    if isinstance(value, Mapping):
        return _mapping(value, path, depth + 1)
    if isinstance(value, (list, tuple)):
        _check_depth(path, depth + 1)
        return [_value(item, f"{path}.{index}", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return _value(sorted(value, key=str), path, depth)
    if isinstance(value, datetime):
        return _moment(value, path)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    raise _Refused(path, f"A {type(value).__name__} can't be kept; use texts, numbers, lists and mappings.")


def _float(value: float, path: str) -> float | int:
    if not math.isfinite(value):
        raise _Refused(path, "NaN and infinity can't be kept.")
    if not value.is_integer():
        return value
    # jsonb gives a large float back as a whole number, all digits written out, and loses the sign of a zero.
    if abs(value) >= _INT64:
        raise _Refused(path, "Numbers must lie within 64 bits; send it as a text.")
    return int(value) if abs(value) >= 2**53 else value + 0.0


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Refused(path, f"Data may be nested {MAX_DEPTH} levels deep.")
