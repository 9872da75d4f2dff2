"""Recording: an event is a row in the outbox, written in the transaction of the change that it tells of.

Both commit or neither does. The relay takes it to the log from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from django.db import connection, transaction

from activity import canonical, room
from activity.context import RecordingContext, circumstances
from activity.errors import NotInTransaction
from activity.events import Event
from tenants import context, hints, reads
from tenants.ids import new_id

RELAY: Final = "activity.relay"  # the task's name
AT_ONCE: Final = 1_000


def record(event: Event) -> None:
    """Record an event in the current transaction of the active tenant, or of control: one INSERT.

    Raises NoTenant, NotInTransaction, and EventInvalid for what can't be kept.
    """
    record_all([event])


def record_all(events: Sequence[Event]) -> None:
    """Record events, in the order given, as `record` does: one INSERT for each thousand."""
    context.current()
    if not events:
        return
    if not connection.in_atomic_block:
        raise NotInTransaction(events[0].action)
    around = circumstances()
    rows = [_row(event, around) for event in events]
    reads.note_write()
    with connection.cursor() as cursor:
        if len(rows) == 1:
            cursor.execute(_RECORD, rows[0])
        else:
            for start in range(0, len(rows), AT_ONCE):
                documents = ",".join(document for _, document in rows[start : start + AT_ONCE])
                cursor.execute(_RECORD_ALL, [f"[{documents}]"])
    hints.send(RELAY)


# By hand: the ORM would put the same text together anew each time, which takes longer than the INSERT.
_RECORD: Final = "INSERT INTO activity_outboxevent (event_id, document) VALUES (%s, %s)"
_RECORD_ALL: Final = """
INSERT INTO activity_outboxevent (event_id, document)
SELECT (document ->> 'id')::uuid, document FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS sent (document, position)
ORDER BY position
"""


def _row(event: Event, around: RecordingContext) -> tuple[UUID, str]:
    """The event's id, and its document as JSON."""
    event_id = new_id()
    _, encoded = canonical.normal_form(
        id=event_id,
        at=datetime.now(UTC),
        action=event.action,
        actor=around.actor,
        target=event.target,
        source=around.source,
        request_id=around.request_id,
        ip=around.ip,
        data=event.data(),
    )
    return event_id, encoded.decode()


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


def record_ingested(events: Sequence[tuple[UUID, bytes]]) -> Ingested:
    """Record events that were sent in, as (id, normal form in JSON), in the order given; they are durable once this has committed.

    An id that comes twice, here or in the last week, counts once: the first one stays. Raises OutboxFull.
    """
    room.check_room()
    first: dict[UUID, bytes] = {}
    for event_id, encoded in events:
        first.setdefault(event_id, encoded)
    reads.note_write()
    with transaction.atomic(), connection.cursor() as cursor:
        # One value: an array of as many would be put together here, text by text.
        cursor.execute(_INGEST, [(b"[" + b",".join(first.values()) + b"]").decode()])
        accepted = cursor.rowcount
        hints.send(RELAY)
    return Ingested(accepted, len(events) - accepted)
