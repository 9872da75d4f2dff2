"""The log of activity in MongoDB. All tenants share a collection, so every function takes the tenant first and asks for no other.

A tenant's numbers (`seq`) have no gaps, so a page is a range of them. A filter is asked for as one token and a range, which an
index answers; the rest is tested here. The server never sorts or counts more than a range, and a page is a bounded amount of work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import BulkWriteError, ExecutionTimeout

from activity import mongo
from activity.canonical import moment_text
from activity.chain.links import canonical
from activity.errors import LogUnavailable, SequenceConflict
from activity.search import Condition, Query, terms_of
from tenants.pages import Page, decode_cursor, encode_cursor
from tenants.refs import Ref

Document = dict[str, Any]

# One page reads at most so many documents (or as many as it may show) in at most so many questions; then it may be short, with a cursor
# to go on from.
MAX_DOCUMENTS: Final = 400
MAX_QUESTIONS: Final = 24
PORTION: Final = 256  # documents of one question, where some may be dropped here
FIRST_WIDTH: Final = 128
WIDENING: Final = 8
COMMON: Final = 0.05  # of the events in a range; a token found more often than this is worth comparing with another
READ_TIMEOUT: Final = 2_000  # milliseconds
IDS_AT_ONCE: Final = 100
PURGED_AT_ONCE: Final = 500
READ_AT_ONCE: Final = 1_000
PORTION_TIMEOUT: Final = 10_000  # milliseconds

# What a document has besides the event: to find it by, and to prove it by.
_BESIDE: Final = frozenset({"_id", "tenant", "terms", "canonical", "hash"})
_DUPLICATE_KEY: Final = 11000
FIELDS: Final = ("id", "seq", "at", "action", "actor", "target", "source", "request_id", "ip", "data")


# --- Writing ---------------------------------------------------------------------------------------------------------------


def append(ref: Ref, events: Sequence[Mapping[str, Any]]) -> None:
    """Append events in their normal form, with `seq` and `hash`, in the order given; returns when a majority has all of them.

    To append an event again changes nothing. What fails on the way leaves a beginning of them in the log, never one behind a gap. Raises
    LogUnavailable, after which any beginning may be there, and SequenceConflict.
    """
    mongo.ensure_indexes()
    waiting = [_stored(ref, event) for event in events]
    with mongo.reachable():
        while waiting:
            try:
                mongo.events().insert_many(waiting, ordered=True)
            except BulkWriteError as error:
                waiting = _after_refusal(ref, waiting, error)
            else:
                return


def _after_refusal(ref: Ref, waiting: list[Document], error: BulkWriteError) -> list[Document]:
    """What is still to be appended: all but what was there already."""
    refused = error.details.get("writeErrors") or []
    if not refused:
        raise LogUnavailable("WriteConcernError") from error  # written, but not yet safe
    if refused[0]["code"] != _DUPLICATE_KEY:
        raise error
    waiting = waiting[refused[0]["index"] :]
    held = _numbers(ref, [document["_id"] for document in waiting])
    if waiting[0]["_id"] not in held:
        raise _conflict(ref, waiting[0], None) from error
    for document in waiting:
        found = held.get(document["_id"])
        if found is not None and found != document["seq"]:
            raise _conflict(ref, document, found) from error
    return [document for document in waiting if document["_id"] not in held]


def _conflict(ref: Ref, document: Document, found: int | None) -> SequenceConflict:
    return SequenceConflict(tenant=ref.id, event_id=document["id"], seq=document["seq"], found=found)


def purge(ref: Ref) -> int:
    """Remove the whole log of a tenant that is deleted, range by range; returns how many events there were. Raises LogUnavailable."""
    removed, first = 0, 1
    with mongo.reachable():
        while True:
            portion = {"tenant": ref.id, "seq": {"$gte": first, "$lt": first + PURGED_AT_ONCE}}
            count = mongo.events().delete_many(portion).deleted_count
            removed += count
            first += PURGED_AT_ONCE
            if not count:
                left = mongo.events().find_one({"tenant": ref.id}, {"seq": 1})
                if left is None:
                    return removed
                first = left["seq"]


def remove_before(ref: Ref, first: int) -> int:
    """Remove the events below the number `first`, range by range, the oldest first; returns how many. Raises LogUnavailable."""
    removed = 0
    with mongo.reachable():
        while True:
            oldest = mongo.events().find_one(
                {"tenant": ref.id, "seq": {"$lt": first}}, {"seq": 1}, sort=[("seq", ASCENDING)]
            )
            if oldest is None:
                return removed
            for start in range(oldest["seq"], first, PURGED_AT_ONCE):
                portion = {"$gte": start, "$lt": min(start + PURGED_AT_ONCE, first)}
                removed += mongo.events().delete_many({"tenant": ref.id, "seq": portion}).deleted_count


# --- Reading ---------------------------------------------------------------------------------------------------------------


def existing_ids(ref: Ref, ids: Collection[UUID]) -> set[UUID]:
    """Those of the ids that the log has. Raises LogUnavailable."""
    return set(numbers_of(ref, ids))


def numbers_of(ref: Ref, ids: Collection[UUID]) -> dict[UUID, int]:
    """The number of each of the ids that the log has. Raises LogUnavailable."""
    keys = {_key(ref, event_id): event_id for event_id in ids}
    with mongo.reachable():
        return {keys[key]: seq for key, seq in _numbers(ref, list(keys)).items()}


def end_of_run(ref: Ref, *, after: int) -> int:
    """The last number of those that follow `after` without a gap; `after` when the log has not even the next. Raises LogUnavailable."""
    while True:
        portion = {"tenant": ref.id, "seq": {"$gt": after, "$lte": after + READ_AT_ONCE}}
        with mongo.reachable():
            found = mongo.events().find(portion, {"_id": 0, "seq": 1}).max_time_ms(PORTION_TIMEOUT)
            numbers = {document["seq"] for document in found}
        end = after
        while end + 1 in numbers:
            end += 1
        if end < after + READ_AT_ONCE:
            return end
        after = end


def beyond(ref: Ref, last: int) -> Document | None:
    """A document with a number higher than `last`, if the log has one. Raises LogUnavailable."""
    with mongo.reachable():
        return mongo.events().find_one({"tenant": ref.id, "seq": {"$gt": last}}, {"_id": 0, "seq": 1, "id": 1})


def stored(ref: Ref, *, first: int, last: int) -> Iterator[list[Document]]:
    """The documents from `first` to `last` by number, whole, in portions of READ_AT_ONCE numbers. Raises LogUnavailable."""
    for start in range(first, last + 1, READ_AT_ONCE):
        portion = {"$gte": start, "$lt": min(start + READ_AT_ONCE, last + 1)}
        with mongo.reachable():
            found = mongo.events().find({"tenant": ref.id, "seq": portion}, sort=[("seq", ASCENDING)])
            documents = list(found.batch_size(READ_AT_ONCE).max_time_ms(PORTION_TIMEOUT))
        yield documents


def get(ref: Ref, event_id: UUID) -> Document | None:
    """One event as the API shows it, or None. Raises LogUnavailable."""
    with mongo.reachable():
        document = mongo.events().find_one({"_id": _key(ref, event_id)}, max_time_ms=READ_TIMEOUT)
    return None if document is None else item(document)


def page(ref: Ref, *, head: int, query: Query, cursor: str | None, limit: int, first: int = 1) -> Page[Document]:
    """The next events that the query asks for, of those numbered from `first` to `head`. Raises BadCursor and LogUnavailable.

    `next` is None at the end of the log. A page may be short, or even empty, and still have a `next`: then the work that a page may cost
    was used up before it was full.
    """
    walk = _Walk(ref, first=first, head=head, query=query, cursor=cursor)
    with mongo.reachable():
        walk.run(limit)
    return Page(walk.found, None if walk.at_end else encode_cursor(walk.position))


def item(document: Mapping[str, Any]) -> Document:
    """An event as the API shows it, from the log's document or from the outbox's."""
    shown = {field: document.get(field) for field in FIELDS}
    if isinstance(shown["at"], str):
        shown["at"] = datetime.fromisoformat(shown["at"])
    return shown


@dataclass(slots=True)
class _Driver:
    """A token to ask for, with what is known of how often it occurs here."""

    condition: Condition | None
    width: int
    density: float | None = None


class _Walk:
    """A walk through the numbers, from the cursor on, in ranges that widen as long as they hold little."""

    def __init__(self, ref: Ref, *, first: int, head: int, query: Query, cursor: str | None) -> None:
        self.ref = ref
        self.first = first
        self.head = head
        self.query = query
        self.newest = query.order == "newest"
        # The first number that hasn't been looked at.
        self.position = head if self.newest else first
        if cursor:
            (position,) = decode_cursor(cursor, int)
            self.position = min(position, head) if self.newest else max(position, first)
        self.found: list[Document] = []
        self.conditions = sorted(query.conditions(), key=lambda condition: condition.rank)
        self.drivers = [_Driver(condition, FIRST_WIDTH) for condition in self.conditions] or [
            _Driver(None, FIRST_WIDTH)
        ]
        # Whether all that is read will be shown.
        self.is_exact = len(self.conditions) < 2 and query.start is None and query.end is None

    @property
    def at_end(self) -> bool:
        return self.position < self.first if self.newest else self.position > self.head

    def run(self, limit: int) -> None:
        documents = questions = 0
        most = max(limit, MAX_DOCUMENTS)
        while len(self.found) < limit and not self.at_end and documents < most and questions < MAX_QUESTIONS:
            wanted = min(most - documents, limit - len(self.found) if self.is_exact else PORTION)
            driver = self._driver()
            if self.is_exact and not self.conditions:
                driver.width = wanted
            try:
                rows = self._step(driver, wanted)
            except ExecutionTimeout:
                if driver.width <= FIRST_WIDTH:
                    raise
                driver.width = max(FIRST_WIDTH, driver.width // WIDENING**2)
                questions += 1
                continue
            questions += len(driver.condition.terms) if driver.condition else 1
            documents += len(rows)
            self._take(rows, limit)

    def _driver(self) -> _Driver:
        """The rarest token by what was seen; another one is tried only once this one proves common."""
        tried = [driver for driver in self.drivers if driver.density is not None]
        if not tried:
            return self.drivers[0]
        best = min(tried, key=lambda driver: driver.density or 0.0)
        if (best.density or 0.0) > COMMON and len(tried) < len(self.drivers):
            return self.drivers[len(tried)]
        return best

    def _step(self, driver: _Driver, wanted: int) -> list[Document]:
        """The documents of the next range, in order; moves on to its end, or to where `wanted` documents were reached."""
        if self.newest:
            first, last = max(self.first, self.position - driver.width + 1), self.position
        else:
            first, last = self.position, min(self.head, self.position + driver.width - 1)
        terms = driver.condition.terms if driver.condition else (None,)
        rows: list[Document] = []
        reached = first if self.newest else last
        for term in terms:
            part = self._ask(term, first, last, wanted)
            rows += part
            if len(part) == wanted:  # there may be more behind it
                reached = max(reached, part[-1]["seq"]) if self.newest else min(reached, part[-1]["seq"])
        rows = [row for row in rows if (row["seq"] >= reached if self.newest else row["seq"] <= reached)]
        rows.sort(key=lambda row: row["seq"], reverse=self.newest)
        looked_at = abs(reached - self.position) + 1
        driver.density = len(rows) / looked_at
        driver.width = min(driver.width * WIDENING, max(FIRST_WIDTH, round(wanted / max(driver.density, 1e-9))))
        self.position = reached - 1 if self.newest else reached + 1
        return rows

    def _ask(self, term: str | None, first: int, last: int, wanted: int) -> list[Document]:
        found: Document = {"tenant": self.ref.id, "seq": {"$gte": first, "$lte": last}}
        if term is not None:
            found = {"tenant": self.ref.id, "terms": term, "seq": found["seq"]}
        rows = mongo.events().find(found, sort=[("seq", DESCENDING if self.newest else ASCENDING)], limit=wanted)
        return list(rows.max_time_ms(READ_TIMEOUT))

    def _take(self, rows: list[Document], limit: int) -> None:
        for row in rows:
            if self._is_asked_for(row):
                self.found.append(item(row))
                if len(self.found) == limit:
                    self.position = row["seq"] - 1 if self.newest else row["seq"] + 1
                    return

    def _is_asked_for(self, row: Document) -> bool:
        terms = frozenset(row["terms"])
        return self.query.in_time(row["at"]) and all(condition.holds(terms) for condition in self.conditions)


# --- Documents -------------------------------------------------------------------------------------------------------------


def _key(ref: Ref, event_id: UUID | str) -> str:
    return f"{ref.id}:{event_id}"


def _stored(ref: Ref, event: Mapping[str, Any]) -> Document:
    """The document of an event. Two tenants may have an event of the same id, so the key has both.

    The bytes that its hash is made of are kept beside the fields, so that each can be held against the other.
    """
    fields = {name: value for name, value in event.items() if name != "hash"}
    document = {"_id": _key(ref, event["id"]), "tenant": ref.id, **fields, "terms": terms_of(event)}
    document |= {"canonical": canonical(fields), "at": datetime.fromisoformat(event["at"]).astimezone(UTC)}
    if "hash" in event:
        document["hash"] = bytes(event["hash"])
    return document


def fields_of(document: Mapping[str, Any]) -> Document:
    """The event of a document in its normal form: what its hash is made of."""
    event = {name: value for name, value in document.items() if name not in _BESIDE}
    event["at"] = moment_text(event["at"])
    return event


def _numbers(ref: Ref, keys: Sequence[str]) -> dict[str, int]:
    """The `seq` of those that the log has, by `_id`. In small portions: the development server compares each with each."""
    numbers: dict[str, int] = {}
    for start in range(0, len(keys), IDS_AT_ONCE):
        portion = {"_id": {"$in": list(keys[start : start + IDS_AT_ONCE])}}
        for document in mongo.events().find(portion, {"seq": 1}).max_time_ms(READ_TIMEOUT):
            numbers[document["_id"]] = document["seq"]
    return numbers
