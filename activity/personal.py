"""What an event tells of people: encrypted when it is recorded, shown to those who may read the log, and gone once a person was erased.

A personal value is kept as `{"$personal": {"subject": …, "value": …}}`: the person's digest, and in base64 what AES-GCM made of the value's
JSON with that person's key (tenants.subject_keys). Owner, event, place and person are bound in, so that a value moved elsewhere shows
nothing. Of someone who was erased before the event was recorded there is no `value`. To everything else it is a value like another: the
chain, jsonb and BSON hold it as it is, and an erasure changes nothing in it.

`reveal` is the one way to read documents that come from the outbox or from the log in MongoDB.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from activity.canonical import PERSONAL
from activity.errors import EventInvalid
from activity.events import Event
from activity.search import Query, terms_of
from tenants import subject_keys
from tenants.refs import Ref

log = structlog.get_logger(__name__)

Document = dict[str, Any]

# Parties of these types are people of the tenant (or operators, in control): their names are personal without a word.
PEOPLE: Final = frozenset({"member", "operator"})
ERASED: Final = "Erased"  # in the place of a name
UNREADABLE: Final = "Unreadable"

_PARTIES: Final = ("actor", "target")
_PARTY_FIELDS: Final = frozenset({"name", "id"})
_NONCE: Final = 12  # bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a document, as `data.email`, and the person (`type:id`) of whom it tells."""

    path: str
    subject: str


# --- Which places are personal ---------------------------------------------------------------------------------------------


def marks_of(event: Event, document: Document) -> list[Mark]:
    """The personal places of one of our own events: what its class names, and the names of people. Raises EventInvalid."""
    marks = _marks_of_people(document)
    subject = event.tells_of() or _person(document["target"]) or _person(document["actor"])
    for name in event.personal:
        if subject is None:
            raise EventInvalid({"personal": [f"Say of whom {name} of {event.action} tells: give the event a subject."]})
        path = name if name in {"ip", "target.name"} else f"data.{name}"
        marks.setdefault(path, Mark(path, subject))
    return list(marks.values())


def marks_of_sent(document: Document, paths: Sequence[str], subject: str | None) -> list[Mark]:
    """The personal places of an event that was sent in. Raises EventInvalid for a path that leads nowhere, so that no typing error leaks.

    `actor.…` tells of the actor, `target.…` of the target, and `data.…` of `subject` (`type:id`), or else of the actor.
    """
    marks = _marks_of_people(document)
    errors: dict[str, list[str]] = {}
    for index, path in enumerate(paths):
        root, _, rest = path.partition(".")
        if not rest or root not in {"data", *_PARTIES} or (root in _PARTIES and rest not in _PARTY_FIELDS):
            sentence = "Name a place in data, such as data.email, or the name or id of actor or target."
        elif _place(document, path) is None:
            sentence = f"There is nothing at {path[:200]}."
        else:
            of = "actor" if root == "data" else root
            whom = subject if root == "data" and subject else f"{document[of]['type']}:{document[of]['id']}"
            marks.setdefault(path, Mark(path, whom))
            continue
        errors[f"personal.{index}"] = [sentence]
    if errors:
        raise EventInvalid(errors)
    # What lies within a personal value is encrypted with it.
    return [mark for path, mark in marks.items() if not any(path.startswith(f"{other}.") for other in marks)]


def _marks_of_people(document: Document) -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    for party in _PARTIES:
        person = _person(document[party])
        if person is not None:
            marks[f"{party}.name"] = Mark(f"{party}.name", person)
    if document["ip"] and "actor.name" in marks:
        marks["ip"] = replace(marks["actor.name"], path="ip")
    return marks


def _person(party: Mapping[str, str] | None) -> str | None:
    return f"{party['type']}:{party['id']}" if party and party["type"] in PEOPLE else None


def _place(document: Document, path: str) -> tuple[Any, Any] | None:
    """The mapping or list that holds what is at the path, and its name or number there."""
    holder: Any = None
    step: Any = None
    value: Any = document
    for name in path.split("."):
        holder, step = value, name
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and int(name) < len(value):
            step = int(name)
            value = value[step]
        else:
            return None
    return holder, step


# --- Recording -------------------------------------------------------------------------------------------------------------


def protect(ref: Ref, events: Sequence[tuple[Document, Sequence[Mark]]]) -> None:
    """Encrypt the marked values of documents in their normal form, in place. Raises SubjectKeysUnavailable.

    A personal id, which others must be able to compare, gives way to the person's digest; it can be asked for by, and not be read again.
    """
    digests = {mark.subject: "" for _, marks in events for mark in marks}
    if not digests:
        return
    for subject in digests:
        digests[subject] = subject_keys.digest(ref, subject)
    keys = subject_keys.obtain(ref, digests.values())
    for document, marks in events:
        for mark in marks:
            place = _place(document, mark.path)
            if place is None:
                continue
            holder, step = place
            subject = digests[mark.subject]
            if mark.path in {"actor.id", "target.id"}:
                holder[step] = subject
            elif holder[step] not in (None, ""):
                holder[step] = _encrypted(
                    holder[step], subject, keys[subject], _bound(ref, document, mark.path, subject)
                )


def _encrypted(value: Any, subject: str, key: AESGCM | None, bound: bytes) -> Document:
    if key is None:
        return {PERSONAL: {"subject": subject}}
    nonce = os.urandom(_NONCE)
    blob = nonce + key.encrypt(nonce, orjson.dumps(value), bound)
    return {PERSONAL: {"subject": subject, "value": base64.b64encode(blob).decode()}}


def _bound(ref: Ref, document: Mapping[str, Any], path: str, subject: str) -> bytes:
    return f"{ref.id}:{document['id']}:{path}:{subject}".encode()


# --- Reading ---------------------------------------------------------------------------------------------------------------


def reveal(ref: Ref, documents: Iterable[Mapping[str, Any]], *, erased: str = ERASED) -> list[Document]:
    """The same documents to read, those that come from the outbox or from the log: one question to control for all of them, or none.

    An erased value is `{"erased": true}`, an erased name is `erased`, an erased address (`ip`) None. What doesn't decrypt, as in a copy of
    another tenant's database, is "Unreadable" the same way. Blocks: not for an event loop. Raises SubjectKeysUnavailable.
    """
    found = list(documents)
    return _revealed(ref, found, [subjects_in(document) for document in found], erased)


def subjects_in(document: Mapping[str, Any]) -> Collection[str]:
    """The digests of the people of whom a document has personal values."""
    found: dict[str, None] = {}
    _collect([document.get(field) for field in ("actor", "target", "ip", "data")], found)
    return found


def _collect(value: dict[str, Any] | list[Any], found: dict[str, None]) -> None:
    """Every event that is read or indexed is walked through, so this is a plain loop."""
    if isinstance(value, dict):
        personal = value.get(PERSONAL)
        if personal is not None:
            found[personal["subject"]] = None
            return
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)):
            _collect(item, found)


def _revealed(
    ref: Ref, documents: Sequence[Mapping[str, Any]], whose: Sequence[Collection[str]], erased: str
) -> list[Document]:
    everybody = {subject for subjects in whose for subject in subjects}
    keys = subject_keys.find(ref, everybody) if everybody else {}
    return [
        _Reader(ref, keys, document, erased).read() if subjects else dict(document)
        for document, subjects in zip(documents, whose, strict=True)
    ]


class _Erased(Exception):
    """Raised when the person was erased."""


class _Unreadable(Exception):
    """Raised when a value doesn't decrypt."""


class _Reader:
    """Reads one document."""

    def __init__(self, ref: Ref, keys: subject_keys.Keys, document: Mapping[str, Any], erased: str) -> None:
        self.ref = ref
        self.keys = keys
        self.document = document
        self.erased = erased

    def read(self) -> Document:
        shown = dict(self.document)
        for party in _PARTIES:
            if shown.get(party):
                shown[party] = {**shown[party], "name": self._text(shown[party]["name"], f"{party}.name")}
        if isinstance(shown.get("ip"), dict):
            shown["ip"] = self._text(shown["ip"], "ip", erased=None, unreadable=None)
        shown["data"] = self._value(shown["data"], "data")
        return shown

    def _text(self, value: Any, path: str, **otherwise: None) -> Any:
        if not isinstance(value, dict):
            return value
        try:
            return self._decrypted(value[PERSONAL], path)
        except _Erased:
            return otherwise.get("erased", self.erased)
        except _Unreadable:
            return otherwise.get("unreadable", UNREADABLE)

    def _value(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            if PERSONAL in value:
                try:
                    return self._decrypted(value[PERSONAL], path)
                except _Erased:
                    return {"erased": True}
                except _Unreadable:
                    return {"unreadable": True}
            return {name: self._value(item, f"{path}.{name}") for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, f"{path}.{index}") for index, item in enumerate(value)]
        return value

    def _decrypted(self, personal: Mapping[str, str], path: str) -> Any:
        subject, value = personal["subject"], personal.get("value")
        key = self.keys.get(subject)
        if value is None or (key is None and subject in self.keys):
            raise _Erased
        try:
            if key is None:
                raise _Unreadable
            blob = base64.b64decode(value, validate=True)
            return orjson.loads(
                key.decrypt(blob[:_NONCE], blob[_NONCE:], _bound(self.ref, self.document, path, subject))
            )
        except (InvalidTag, binascii.Error, ValueError, _Unreadable):
            log.warning("personal_unreadable", event_id=self.document["id"], path=path)
            raise _Unreadable from None


# --- Searching -------------------------------------------------------------------------------------------------------------


def terms(ref: Ref, events: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The index's tokens of events in their stored form, as far as they can be read now, with `p:` and the digest of each person."""
    whose = [subjects_in(event) for event in events]
    return [
        [*terms_of(shown), *(f"p:{subject}" for subject in subjects)]
        for shown, subjects in zip(_revealed(ref, events, whose, erased=""), whose, strict=True)
    ]


def widened(ref: Ref, query: Query) -> Query:
    """The query, which finds an actor or target by their id also where that gave way to a digest."""
    also: dict[str, Any] = {}
    for party in _PARTIES:
        asked: str | None = getattr(query, party)
        kind = (asked or "").partition(":")[0]
        if asked and kind not in PEOPLE:
            digest = subject_keys.digest(ref, asked)
            if digest in subject_keys.find(ref, [digest]):
                also[f"{party}_digest"] = f"{kind}:{digest}"
    return replace(query, **also) if also else query
