"""Who does what is being recorded, from where, and in which request. Set where a request or a task begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import structlog


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it. `name` is what people read, as it was then."""

    type: str
    id: str
    name: str = ""


SYSTEM: Final = Actor("system", "system", "System")


@dataclass(frozen=True, slots=True)
class RecordingContext:
    """What each event that is recorded says of its circumstances. `source` is ui, api, job or system."""

    actor: Actor = SYSTEM
    request_id: str | None = None
    ip: str | None = None
    source: str = "system"


recording: ContextVar[RecordingContext | None] = ContextVar("activity_recording", default=None)


def circumstances() -> RecordingContext:
    """The context that was set, or the system's own, with the request id that the log lines carry."""
    found = recording.get()
    if found is not None:
        return found
    request_id: Any = structlog.contextvars.get_contextvars().get("request_id")
    return RecordingContext(request_id=request_id)


@contextmanager
def recording_as(context: RecordingContext) -> Iterator[None]:
    """Within the block, events are recorded under `context`."""
    token = recording.set(context)
    try:
        yield
    finally:
        recording.reset(token)
