"""What changes the log: events that a tenant's own product sends in, and the upkeep of what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from django.db.models.functions import Now

from activity import outbox, personal
from activity.context import circumstances
from activity.errors import EventInvalid
from activity.intake import Form, Reader, form_of
from activity.models import KnownEvent
from activity.selectors import event_get
from tenants.context import current

KNOWN_FOR: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a batch: how many events are new, were known, and were refused, with the reasons by index and field."""

    accepted: int
    duplicates: int
    refused: int = 0
    errors: Mapping[str, list[str]] = field(default_factory=dict)


def event_ingest(event: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Record one event that was sent in; returns it as the API shows it, and whether it is new.

    For an id that is known it is the event as it was first recorded. Raises EventInvalid, QuotaExceeded, SubjectKeysUnavailable, and
    LogUnavailable when that can't be looked up.
    """
    ((event_id, encoded),) = _protected([form_of(event, circumstances())])
    is_new = bool(outbox.record_ingested([(event_id, encoded)]).accepted)
    found = None if is_new else event_get(UUID(event_id))
    return found or {**personal.reveal(current(), [orjson.loads(encoded)])[0], "seq": None}, is_new


def events_ingest(events: Sequence[Any], *, keep_good: bool = False) -> Intake:
    """Record events that were sent in, as their JSON has them. Any that can't be recorded is named by index and field.

    With `keep_good` the others are recorded all the same; without it none is, and EventInvalid is raised. Raises QuotaExceeded and
    SubjectKeysUnavailable, and then none is recorded either.
    """
    reader = Reader(circumstances())
    if not keep_good and not reader.tells_of_people(events):
        # Nearly every batch is good and new: it is written while it is read, and taken back if it turns out not to be.
        ids = reader.ids(events)
        if ids and outbox.record_new(ids, map(reader.encoded, events)):
            return Intake(len(ids), 0)
    forms: list[Form] = []
    errors: dict[str, list[str]] = {}
    for index, event in enumerate(events):
        try:
            forms.append(reader.form(event))
        except EventInvalid as refusal:
            place = f"events.{index}"
            errors.update({f"{place}.{name}" if name else place: why for name, why in refusal.errors.items()})
    if errors and not keep_good:
        raise EventInvalid(errors)
    recorded = outbox.record_ingested(_protected(forms))
    return Intake(recorded.accepted, recorded.duplicates, len(events) - len(forms), errors)


def _protected(forms: Sequence[Form]) -> list[tuple[str, bytes]]:
    """What goes into the outbox, by id: personal values encrypted, with one question for all their keys."""
    personal.protect(current(), [(form.document, form.marks) for form in forms if form.marks])
    return [(form.id, orjson.dumps(form.document) if form.marks else form.encoded) for form in forms]


def known_events_prune() -> int:
    """Forget ids of the active tenant that were sent in more than a week ago; returns how many."""
    pruned, _ = KnownEvent.objects.filter(recorded_at__lt=Now() - KNOWN_FOR).delete()
    return pruned
