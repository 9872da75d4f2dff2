"""The events about objects of audited models, and how those of one change are recorded together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model

from activity import outbox
from activity.events import Event

CREATED: Final = "created"
UPDATED: Final = "updated"
DELETED: Final = "deleted"

# The events of the change that is being made.
_together: ContextVar[list[Event] | None] = ContextVar("activity_audit_together", default=None)


@dataclass(frozen=True, kw_only=True)
class ModelEvent(Event):
    """Something happened to an object of an audited model. A class of it is made for each model and each of the three.

    Where the model is of people, the object is the person: its facts and its name are encrypted with that person's key.
    """

    def tells_of(self) -> str | None:
        """The object itself."""
        return f"{self.target.type}:{self.target.id}" if self.personal and self.target else None


@dataclass(frozen=True, kw_only=True)
class ObjectCreated(ModelEvent):
    fields: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ObjectUpdated(ModelEvent):
    """`changes` has [former, new] by field."""

    changes: dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class ObjectDeleted(ModelEvent):
    fields: dict[str, Any]


def event_classes(model: type[Model], *, noun: str, personal: bool) -> dict[str, type[Event]]:
    """A class for each of the three things that may happen to an object of the model, as an app would write them by hand."""
    return {
        what: dataclass(frozen=True, kw_only=True)(
            type(
                f"{model.__name__}{what.title()}",
                (base,),
                {
                    "__module__": model.__module__,
                    "action": f"{noun}.{what}",
                    "personal": frozenset({facts, "target.name"} if personal else ()),
                },
            )
        )
        for what, base, facts in (
            (CREATED, ObjectCreated, "fields"),
            (UPDATED, ObjectUpdated, "changes"),
            (DELETED, ObjectDeleted, "fields"),
        )
    }


@contextmanager
def recorded_together() -> Iterator[None]:
    """What `record_soon` takes within the block is recorded at its end, in one statement for each thousand.

    The block is one change, in a transaction of its own: a block within another one ends by itself, since it may be rolled back alone.
    """
    events: list[Event] = []
    token = _together.set(events)
    try:
        yield
    finally:
        _together.reset(token)
    outbox.record_all(events)


def record_soon(event: Event) -> None:
    """Record an event with the others of the change that is being made; at once where no change of an audited model is."""
    events = _together.get()
    if events is None:
        outbox.record(event)
    else:
        events.append(event)
