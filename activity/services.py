"""What changes the log: events that a tenant's own product sends in, and the upkeep of what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import orjson
from django.db.models.functions import Now

from activity import outbox
from activity.context import circumstances
from activity.errors import EventInvalid
from activity.intake import Reader, normal_form
from activity.models import KnownEvent
from activity.selectors import event_get

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

    For an id that is known it is the event as it was first recorded. Raises EventInvalid, QuotaExceeded, and LogUnavailable when that
    can't be looked up.
    """
    event_id, encoded = normal_form(event, circumstances())
    if outbox.record_ingested([(str(event_id), encoded)]).accepted:
        return {**orjson.loads(encoded), "seq": None}, True
    return event_get(event_id) or {**orjson.loads(encoded), "seq": None}, False


def events_ingest(events: Sequence[Any], *, keep_good: bool = False) -> Intake:
    """Record events that were sent in, as their JSON has them. Any that can't be recorded is named by index and field.

    With `keep_good` the others are recorded all the same; without it none is, and EventInvalid is raised. Raises QuotaExceeded, and then
    none is recorded either.
    """
    reader = Reader(circumstances())
    if not keep_good:
        # Nearly every batch is good and new: it is written while it is read, and taken back if it turns out not to be.
        ids = reader.ids(events)
        if ids and outbox.record_new(ids, (reader.normal_form(event)[1] for event in events)):
            return Intake(len(ids), 0)
    forms: list[tuple[str, bytes]] = []
    errors: dict[str, list[str]] = {}
    for index, event in enumerate(events):
        try:
            forms.append(reader.normal_form(event))
        except EventInvalid as refusal:
            place = f"events.{index}"
            errors.update({f"{place}.{name}" if name else place: why for name, why in refusal.errors.items()})
    if errors and not keep_good:
        raise EventInvalid(errors)
    recorded = outbox.record_ingested(forms)
    return Intake(recorded.accepted, recorded.duplicates, len(events) - len(forms), errors)


def known_events_prune() -> int:
    """Forget ids of the active tenant that were sent in more than a week ago; returns how many."""
    pruned, _ = KnownEvent.objects.filter(recorded_at__lt=Now() - KNOWN_FOR).delete()
    return pruned
