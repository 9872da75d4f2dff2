"""Events that are sent in: from the body of a request to the normal form of each, one by one, so that a bad one spoils no other.

Nearly all are plainly good. `_quick` takes those without a detour: it reads only what it is sure of, and leaves everything else to the
schema and to `canonical`, which know every rule and word every refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import ValidationError

from activity import canonical
from activity.context import Actor, RecordingContext
from activity.errors import EventInvalid
from activity.events import Target
from activity.schemas import MAX_BATCH, BatchIn, EventIn
from tenants.ids import new_id

# Tenantry's own events can't be sent in from outside.
RESERVED: Final = ("tenant.", "member.", "invitation.", "session.", "token.", "job.", "webhook.")

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_IN_MILLISECONDS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").fullmatch
_IN_SECONDS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").fullmatch
_FIELDS: Final = EventIn.model_fields.keys()
_PARTY_FIELDS: Final = frozenset({"type", "id", "name"})
_KNOWN_AT_ONCE: Final = 1_000  # of a batch, so that what is remembered of it stays small


@dataclass(frozen=True, slots=True)
class NotJson:
    """A line that isn't JSON, in the place of its event."""

    sentence: str


def events_of_lines(body: bytes) -> list[Any]:
    """The events of an NDJSON body, one a line; empty lines don't count. Raises EventInvalid when there are too many."""
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    if len(lines) > MAX_BATCH:
        raise EventInvalid({"events": [f"Send at most {MAX_BATCH:,} lines at once; these are {len(lines):,}."]})
    return [_event_of_line(line) for line in lines]


def _event_of_line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return NotJson(f"This line isn't JSON: {error.msg}.")


def events_of_json(body: bytes) -> tuple[list[Any], str | None]:
    """The events of a JSON body, not looked at yet, and its `on_error`.

    Raises orjson.JSONDecodeError, and EventInvalid for what is wrong around the events.
    """
    try:
        batch = BatchIn.model_validate(orjson.loads(body))
    except ValidationError as error:
        raise EventInvalid(_errors_of(error)) from None
    return batch.events, batch.on_error


@dataclass
class Reader:
    """Reads the events of one request, which says what they leave out (`around`). Parties and actions are looked at once each."""

    around: RecordingContext
    _actions: set[str] = field(default_factory=set)
    _parties: dict[tuple[Any, ...], dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._now = canonical.moment_text(datetime.now(UTC))
        actor = self.around.actor
        self._caller = {"type": actor.type, "id": actor.id, "name": actor.name}

    def normal_form(self, event: Any) -> tuple[str, bytes]:
        """The id and the normal form of an event, as JSON. Raises EventInvalid with every field that can't be held."""
        return self._quick(event) or self._closely(event)

    # --- The quick way -------------------------------------------------------------------------------------------------------

    def _quick(self, event: Any) -> tuple[str, bytes] | None:
        """The same for an event that is plainly good; None for one that has to be looked at closely."""
        if type(event) is not dict or not event.keys() <= _FIELDS:
            return None
        event_id, at, action = event.get("id"), event.get("at"), event.get("action")
        data = event.get("data")
        if data is None:
            data = {}
        if event_id is None:
            event_id = str(new_id())
        elif type(event_id) is not str or not _ID(event_id):
            return None
        at = self._now if at is None else _quick_moment(at)
        if at is None or not self._is_plain_action(action) or type(data) is not dict or not _is_plain(data, 1):
            return None
        actor, target = event.get("actor"), event.get("target")
        if actor is not None:
            actor = self._plain_party(actor)
            if actor is None:
                return None
        if target is not None:
            target = self._plain_party(target)
            if target is None:
                return None
        encoded = orjson.dumps({
            "id": event_id, "at": at, "action": action, "actor": actor or self._caller, "target": target, "source": "api",
            "request_id": self.around.request_id, "ip": None, "data": data,
        })  # fmt: skip
        # So short that no text in it is too long; and NUL, which can't be kept, is written so.
        if len(encoded) > canonical.MAX_STRING or b"\\u0000" in encoded:
            return None
        return event_id, encoded

    def _is_plain_action(self, action: Any) -> bool:
        if type(action) is not str:
            return False
        if action in self._actions:
            return True
        if len(action) > canonical.MAX_ACTION or not canonical.ACTION.fullmatch(action) or action.startswith(RESERVED):
            return False
        if len(self._actions) < _KNOWN_AT_ONCE:
            self._actions.add(action)
        return True

    def _plain_party(self, party: Any) -> dict[str, str] | None:
        if type(party) is not dict or not party.keys() <= _PARTY_FIELDS:
            return None
        key = party.get("type"), party.get("id"), party.get("name", "")
        kind, identity, name = key
        if type(kind) is not str or type(identity) is not str or type(name) is not str:
            return None
        known = self._parties.get(key)
        if known is not None:
            return known
        if (
            len(kind) > canonical.MAX_TYPE
            or not canonical.TYPE.fullmatch(kind)
            or not 0 < len(identity) <= canonical.MAX_ID
            or len(name) > canonical.MAX_NAME
        ):
            return None
        found = {"type": kind, "id": identity, "name": name}
        if len(self._parties) < _KNOWN_AT_ONCE:
            self._parties[key] = found
        return found

    # --- The thorough way ----------------------------------------------------------------------------------------------------

    def _closely(self, event: Any) -> tuple[str, bytes]:
        if isinstance(event, NotJson):
            raise EventInvalid({"": [event.sentence]})
        try:
            checked = EventIn.model_validate(event)
        except ValidationError as error:
            raise EventInvalid(_errors_of(error)) from None
        event_id, encoded = normal_form(checked.model_dump(), self.around)
        return str(event_id), encoded


def normal_form(event: Mapping[str, Any], around: RecordingContext) -> tuple[UUID, bytes]:
    """The id and the normal form of an event that the schema has accepted. Raises EventInvalid."""
    if event["action"].startswith(RESERVED):
        raise EventInvalid(
            {"action": [f"Names that begin with {event['action'].partition('.')[0]}. are Tenantry's own."]}
        )
    event_id = event.get("id") or new_id()
    actor, target = event.get("actor"), event.get("target")
    _, encoded = canonical.normal_form(
        id=event_id,
        at=event.get("at") or datetime.now(UTC),
        action=event["action"],
        actor=Actor(**actor) if actor else around.actor,
        target=Target(**target) if target else None,
        source="api",
        request_id=around.request_id,
        ip=None,  # the address of the sender's server would pass for the actor's
        data=event.get("data") or {},
    )
    return event_id, encoded


def _quick_moment(at: Any) -> str | None:
    """A moment in UTC as the normal form has it, when it is written so, or without milliseconds."""
    if type(at) is not str:
        return None
    if _IN_MILLISECONDS(at):
        text = at
    elif _IN_SECONDS(at):
        text = f"{at[:-1]}.000Z"
    else:
        return None
    try:
        datetime.fromisoformat(text)  # a month 13 has the form too
    except ValueError:
        return None
    # Python reads 24:00 as the next day from some version on; the closer look decides.
    return None if text[11:13] == "24" else text


def _is_plain(value: Any, depth: int) -> bool:
    """Whether data can be kept as it is. Texts aren't looked at: see where this is called."""
    check = _PLAIN.get(type(value))
    return check is not None and check(value, depth)


def _is_plain_mapping(value: dict[Any, Any], depth: int) -> bool:
    if depth > canonical.MAX_DEPTH:
        return False
    for key, item in value.items():
        if not 0 < len(key) <= canonical.MAX_KEY:
            return False
        if type(item) is not str and not _is_plain(item, depth + 1):
            return False
    return True


def _is_plain_list(value: list[Any], depth: int) -> bool:
    if depth > canonical.MAX_DEPTH:
        return False
    return all(type(item) is str or _is_plain(item, depth + 1) for item in value)


def _always(value: Any, depth: int) -> bool:
    return True


_PLAIN: Final[dict[type, Callable[[Any, int], bool]]] = {
    dict: _is_plain_mapping,
    list: _is_plain_list,
    bool: _always,
    type(None): _always,
    int: lambda value, depth: -(2**63) <= value < 2**63,
    float: lambda value, depth: not value.is_integer() and abs(value) < 2**53,
}


def _errors_of(error: ValidationError) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        fields.setdefault(".".join(map(str, found["loc"])), []).append(found["msg"])
    return fields
