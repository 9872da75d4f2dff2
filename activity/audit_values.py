"""What the event about a change of a model says of its fields: values that an event can hold, short, and no secrets."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
from django.db.models.fields.files import FieldFile

from activity.canonical import plain_form
from activity.errors import EventInvalid

MASK: Final = "***"
MAX_TEXT: Final = 500  # characters; in an event of many fields less, so that it keeps within what an event may have
MAX_ALL: Final = 5_000  # characters of all values of one event, before and after, each of which may take six bytes

# A word of a name, whatever joins it to others: api_key, apiKey, client-secret, Password2; neither `keyword` nor `tokenizer`.
_SECRET: Final = re.compile(
    r"(?:^|[^a-z])(?:pass(?:word|wd|phrase|code)?|secret|token|key|credential|otp|pin|salt)s?(?:[^a-z]|$)"
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_secret(name: str) -> bool:
    """Whether a name is a secret's by its looks."""
    return _SECRET.search(_HUMP.sub("_", name).lower()) is not None


def shown(values: Mapping[str, Any], *, secret: Collection[str], plain: Collection[str]) -> dict[str, Any]:
    """Values by field as an event has them. Secrets are masked: fields of those names, and whatever looks like one but is `plain`."""
    limit = max(20, min(MAX_TEXT, MAX_ALL // max(1, len(values))))
    return {
        name: _masked(value) if name in secret or (is_secret(name) and name not in plain) else _shown(value, limit)
        for name, value in values.items()
    }


def _masked(value: Any) -> str | None:
    """That there is one, and no more: not even its length."""
    return None if value in (None, "") else MASK


def _shown(value: Any, limit: int) -> Any:
    if value is None or isinstance(value, (bool, int, float, Decimal, UUID, datetime, date)):
        return _held(value)
    if isinstance(value, FieldFile):
        return _cut(value.name or "", limit)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value):,} bytes"
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _nested(value, limit)
    return _cut(str(value), limit)


def _held(value: Any) -> Any:
    """The value where an event can hold it, else as a text: a moment without its offset, an infinite number."""
    try:
        return plain_form(value, "value")
    except EventInvalid:
        return str(value)


def _nested(value: Any, limit: int) -> Any:
    """Lists and mappings, with what looks like a secret in them masked; in short, where they are long."""
    kept = _without_secrets(value)
    try:
        held = plain_form(kept, "value")
        encoded = orjson.dumps(held)
    except (EventInvalid, TypeError):
        return _cut(str(kept), limit)
    return held if len(encoded) <= limit else _cut(encoded.decode(), limit)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): _masked(item) if is_secret(str(name)) else _without_secrets(item) for name, item in value.items()
        }
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    return value


def _cut(text: str, limit: int) -> str:
    text = text.replace("\0", "")
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair, which only a text of Python's own can have
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
