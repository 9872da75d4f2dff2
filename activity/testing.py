"""For an app's own tests: what a block recorded.

with assert_recorded("invoice.paid", amount=4200):
    invoice_pay(invoice=invoice)

with recorded_events() as events:
    invoice.delete()
assert events[0].target["name"] == "17"

Both look into the outbox of the active tenant, where an event is as soon as it is recorded, committed or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db.models import Max

from activity.models import OutboxEvent


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as it will be in the log."""

    action: str
    actor: Mapping[str, str]
    target: Mapping[str, str] | None
    source: str
    request_id: str | None
    ip: str | None
    data: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.action} {dict(self.data)}"


@contextmanager
def recorded_events() -> Iterator[list[RecordedEvent]]:
    """A list that has, once the block has ended, the events that were recorded within it, in their order."""
    events: list[RecordedEvent] = []
    last = OutboxEvent.objects.aggregate(last=Max("id"))["last"] or 0
    yield events
    rows = OutboxEvent.objects.filter(id__gt=last).order_by("id").values_list("document", flat=True)
    fields = RecordedEvent.__dataclass_fields__
    events += [RecordedEvent(**{name: document[name] for name in fields}) for document in rows]


@contextmanager
def assert_recorded(*actions: str, **data: Any) -> Iterator[list[RecordedEvent]]:
    """The block records exactly these actions, in this order (none: nothing at all), the last one with at least this data."""
    with recorded_events() as events:
        yield events
    found = [event.action for event in events]
    told = "\n".join(f"  {event}" for event in events) or "  nothing"
    if found != list(actions):
        raise AssertionError(f"Expected {', '.join(actions) or 'nothing'} to be recorded, and this was:\n{told}")
    missing = {name: value for name, value in data.items() if events[-1].data.get(name) != value} if actions else {}
    if missing:
        raise AssertionError(f"Expected the last event to have {missing}, and this was recorded:\n{told}")
