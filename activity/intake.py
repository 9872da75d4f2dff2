"""Events that are sent in: from the body of a request to the normal form of each, one by one, so that a bad one spoils no other.

Nearly all are plainly good. `_quick` takes those without a detour: it reads only what it is sure of, and leaves everything else to the
schema and to `canonical`, which know every rule and word every refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import ValidationError

from activity import canonical
from activity.context import Actor, RecordingContext
from activity.errors import EventInvalid
from activity.events import Target
from activity.personal import PEOPLE, Mark, marks_of_sent
from activity.schemas import MAX_BATCH, BatchIn, EventIn
from tenants.ids import new_id

# Tenantry's own events can't be sent in from outside.
RESERVED: Final = (
    "tenant.",
    "member.",
    "invitation.",
    "session.",
    "token.",
    "job.",
    "activity.",
    "webhook.",
    "schedule.",
)

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[012][0-9]:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,6}))?(?:Z|\+00:00)"
).fullmatch
_FIELDS: Final = frozenset(EventIn.model_fields)
_MAX_ID: Final = canonical.MAX_ID
_MAX_NAME: Final = canonical.MAX_NAME
_MAX_KEY: Final = canonical.MAX_KEY
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


@dataclass(frozen=True, slots=True)
class Form:
    """An event that can be kept, with its id: as JSON or, where it tells of people, as its document, with the places that do."""

    id: str
    encoded: bytes = b""
    document: canonical.Document = field(default_factory=dict)
    marks: Sequence[Mark] = ()


@dataclass
class Reader:
    """Reads the events of one request, `around`, which says what they leave out. Each action and kind of party is looked at once."""

    around: RecordingContext
    _actions: set[str] = field(default_factory=set)
    _kinds: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._now = canonical.moment_text(datetime.now(UTC))
        actor = self.around.actor
        self._caller = {"type": actor.type, "id": actor.id, "name": actor.name}

    def form(self, event: Any) -> Form:
        """The normal form of an event. Raises EventInvalid with every field that can't be held."""
        return self._quick(event) or self._closely(event)

    def encoded(self, event: Any) -> bytes:
        """The normal form of an event that tells of nobody, as JSON. Raises EventInvalid, also for one that does."""
        form = self.form(event)
        if form.marks:
            raise EventInvalid({"personal": ["It tells of a person, and is encrypted before it is written."]})
        return form.encoded

    def tells_of_people(self, events: Sequence[Any]) -> bool:
        """Whether one of the events may have personal places, which are to be encrypted before it is written."""
        return any(type(event) is dict and self._may_tell(event) for event in events)

    def _may_tell(self, event: dict[Any, Any]) -> bool:
        parties = (event.get("actor") or self._caller, event.get("target"))
        return bool(event.get("personal")) or any(
            isinstance(party, dict) and party.get("type") in PEOPLE for party in parties
        )

    def ids(self, events: Sequence[Any]) -> list[str] | None:
        """The ids of all the events, those that have none being given one; None when one can't be read, or comes twice."""
        found: list[str] = []
        for event in events:
            if type(event) is not dict:
                return None
            event_id = event.get("id")
            if event_id is None:
                event["id"] = event_id = str(new_id())
            elif type(event_id) is not str or not _ID(event_id):
                return None
            found.append(event_id)
        return found if len(set(found)) == len(found) else None

    # --- The quick way -------------------------------------------------------------------------------------------------------

    def _quick(self, event: Any) -> Form | None:
        """The same for an event that is plainly good; None for one that has to be looked at closely."""
        if type(event) is not dict or not _FIELDS.issuperset(event) or "subject" in event or "personal" in event:
            return None
        if self._may_tell(event):
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
        return Form(event_id, encoded)

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
        if type(party) is not dict:
            return None
        kind, identity = party.get("type"), party.get("id")
        name = party.get("name") if len(party) == 3 else ""
        if type(kind) is not str or type(identity) is not str or type(name) is not str or not 2 <= len(party) <= 3:
            return None
        if kind not in self._kinds:
            if len(kind) > canonical.MAX_TYPE or not canonical.TYPE.fullmatch(kind):
                return None
            if len(self._kinds) < _KNOWN_AT_ONCE:
                self._kinds.add(kind)
        if not 0 < len(identity) <= _MAX_ID or len(name) > _MAX_NAME:
            return None
        return {"type": kind, "id": identity, "name": name}

    # --- The thorough way ----------------------------------------------------------------------------------------------------

    def _closely(self, event: Any) -> Form:
        if isinstance(event, NotJson):
            raise EventInvalid({"": [event.sentence]})
        try:
            checked = EventIn.model_validate(event)
        except ValidationError as error:
            raise EventInvalid(_errors_of(error)) from None
        return form_of(checked.model_dump(), self.around)


def form_of(event: Mapping[str, Any], around: RecordingContext) -> Form:
    """The normal form of an event that the schema has accepted. Raises EventInvalid."""
    if event["action"].startswith(RESERVED):
        raise EventInvalid(
            {"action": [f"Names that begin with {event['action'].partition('.')[0]}. are Tenantry's own."]}
        )
    event_id = event.get("id") or new_id()
    actor, target = event.get("actor"), event.get("target")
    document, encoded = canonical.normal_form(
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
    marks = marks_of_sent(document, event.get("personal") or (), event.get("subject"))
    return Form(str(event_id), document=document, marks=marks) if marks else Form(str(event_id), encoded)


def _quick_moment(at: Any) -> str | None:
    """A moment in UTC as the normal form has it, when it is written so, or without milliseconds."""
    moment = _MOMENT(at) if type(at) is str else None
    # Python reads 24:00 as the next day from some version on; the closer look decides.
    if moment is None or at[11:13] == "24":
        return None
    try:
        datetime.fromisoformat(at)  # a month 13 has the form too
    except ValueError:
        return None
    second, fraction = moment.groups("000")
    return f"{second}.{fraction[:3]:0<3}Z"


def _is_plain(value: Any, depth: int) -> bool:
    """Whether data can be kept as it is. Texts aren't looked at: see where this is called."""
    check = _PLAIN.get(type(value))
    return check is not None and check(value, depth)


def _is_plain_mapping(value: dict[Any, Any], depth: int) -> bool:
    if depth > canonical.MAX_DEPTH:
        return False
    for key, item in value.items():
        if not 0 < len(key) <= _MAX_KEY:
            return False
        kind = type(item)
        if kind is not str and kind is not bool and not _is_plain(item, depth + 1):
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
