"""Recording: an event is a row in the outbox, written in the transaction of the change that it tells of.

Both commit or neither does. The relay takes it to the log from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import orjson
from django.db import IntegrityError, connection, transaction
from psycopg.errors import UniqueViolation

from activity import canonical, personal, quotas, room
from activity.context import RecordingContext, circumstances
from activity.errors import EventInvalid, NotInTransaction
from activity.events import Event
from tenants import context, hints, reads
from tenants.ids import new_id

RELAY: Final = "activity.relay"  # the task's name
AT_ONCE: Final = 1_000


def record(event: Event) -> None:
    """Record an event in the current transaction of the active tenant, or of control: one INSERT, with its personal fields encrypted.

    Raises NoTenant, NotInTransaction, EventInvalid for what can't be kept, and SubjectKeysUnavailable: nothing personal is written in
    clear.
    """
    record_all([event])


def record_all(events: Sequence[Event]) -> None:
    """Record events, in the order given, as `record` does: one INSERT for each thousand."""
    ref = context.current()
    if not events:
        return
    if not connection.in_atomic_block:
        raise NotInTransaction(events[0].action)
    around = circumstances()
    marked = [_document(event, around) for event in events]
    personal.protect(ref, marked)
    documents = [document for document, _ in marked]
    reads.note_write()
    with connection.cursor() as cursor:
        if len(documents) == 1:
            cursor.execute(_RECORD, [documents[0]["id"], orjson.dumps(documents[0]).decode()])
        else:
            for start in range(0, len(documents), AT_ONCE):
                cursor.execute(_RECORD_ALL, [orjson.dumps(documents[start : start + AT_ONCE]).decode()])
    hints.send(RELAY)


# By hand: the ORM would put the same text together anew each time, which takes longer than the INSERT.
_RECORD: Final = "INSERT INTO activity_outboxevent (event_id, document) VALUES (%s, %s)"
_RECORD_ALL: Final = """
INSERT INTO activity_outboxevent (event_id, document)
SELECT (document ->> 'id')::uuid, document FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS sent (document, position)
ORDER BY position
"""


def _document(event: Event, around: RecordingContext) -> tuple[canonical.Document, list[personal.Mark]]:
    """The event in its normal form, and where it tells of people."""
    document, _ = canonical.normal_form(
        id=new_id(),
        at=datetime.now(UTC),
        action=event.action,
        actor=around.actor,
        target=event.target,
        source=around.source,
        request_id=around.request_id,
        ip=around.ip,
        data=event.data(),
    )
    return document, personal.marks_of(event, document)


@dataclass(frozen=True, slots=True)
class Ingested:
    """How many events are new, and how many were known, by their ids."""

    accepted: int
    duplicates: int


# One statement. Of two senders of an id one waits for the other at `fresh`, in the order of ids, so that they can't wait for each other.
_INGEST: Final = """
WITH sent AS (
    SELECT (document ->> 'id')::uuid AS event_id, document, position
    FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS sent (document, position)
), fresh AS (
    INSERT INTO activity_knownevent (event_id) SELECT event_id FROM sent ORDER BY event_id
    ON CONFLICT DO NOTHING RETURNING event_id
)
INSERT INTO activity_outboxevent (event_id, document)
SELECT event_id, document FROM sent JOIN fresh USING (event_id) ORDER BY position
ON CONFLICT (event_id) DO NOTHING
"""


# The documents in the text format of COPY. JSON has no tabs and no line breaks, but backslashes.
_COPY_KNOWN: Final = "COPY activity_knownevent (event_id) FROM STDIN"
_COPY_EVENTS: Final = "COPY activity_outboxevent (event_id, document) FROM STDIN"
_LINES_AT_ONCE: Final = 64


def record_new(ids: Sequence[str], documents: Iterator[bytes]) -> bool:
    """Record events that were sent in and are most likely new, with their ids, in half the time of `record_ingested`.

    False, and nothing is kept, when an id is known, or when `documents`, which are made while Postgres takes them, raises EventInvalid.
    Raises QuotaExceeded and OutboxFull.
    """
    room.check_room()
    limit = quotas.daily_limit()
    if limit is not None:
        quotas.check(limit, ids)
    reads.note_write()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            with cursor.copy(_COPY_KNOWN) as copy:
                # In their order, so that two senders of the same ids can't wait for each other.
                copy.write("".join([f"{event_id}\n" for event_id in sorted(ids)]))
            with cursor.copy(_COPY_EVENTS) as copy:
                lines = (
                    b"%b\t%b\n" % (event_id.encode(), document.replace(b"\\", b"\\\\"))
                    for event_id, document in zip(ids, documents, strict=True)
                )
                while portion := b"".join(islice(lines, _LINES_AT_ONCE)):
                    copy.write(portion)
            if limit is not None:
                quotas.take(limit, len(ids))
            hints.send(RELAY)
    except (EventInvalid, IntegrityError, UniqueViolation):
        return False
    return True


def record_ingested(events: Sequence[tuple[str, bytes]]) -> Ingested:
    """Record events that were sent in, as (id, normal form in JSON), in the order given; they are durable once this has committed.

    An id that comes twice, here or in the last week, counts once: the first one stays. Raises QuotaExceeded and OutboxFull, and then none
    is kept.
    """
    room.check_room()
    first: dict[str, bytes] = {}
    for event_id, encoded in events:
        first.setdefault(event_id, encoded)
    limit = quotas.daily_limit()
    if limit is not None:
        quotas.check(limit, first.keys())
    reads.note_write()
    with transaction.atomic(), connection.cursor() as cursor:
        # One value: an array of as many would be put together here, text by text.
        cursor.execute(_INGEST, [(b"[" + b",".join(first.values()) + b"]").decode()])
        accepted = cursor.rowcount
        if limit is not None:
            quotas.take(limit, accepted)
        hints.send(RELAY)
    return Ingested(accepted, len(events) - accepted)
