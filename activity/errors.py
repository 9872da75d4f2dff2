"""Every error of activity.

ActivityError
├── EventInvalid           an event, or one of a batch, can't be recorded as it is
├── NotInTransaction       an event was recorded outside the transaction of the change it tells of
├── NotAuditable           rows of an audited model would change, and nobody could say which or how
├── OutboxFull             too much waits for MongoDB to take in more from outside
├── LogUnavailable         MongoDB is away; what was recorded is safe in the outbox
└── SequenceConflict       MongoDB holds another event under a number, or another number for an event
"""

from __future__ import annotations

from collections.abc import Mapping

from tenants.errors import TenantryError


class ActivityError(TenantryError):
    """Base of the errors of activity."""


class EventInvalid(ActivityError):
    """Raised when an event can't be recorded. `errors` has its sentences by field, in a batch by `events.<index>.<field>`."""

    status = 422

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        field, sentences = next(iter(errors.items()))
        super().__init__(f"The event can't be recorded: {field}: {sentences[0]}")
        self.errors = dict(errors)


class NotInTransaction(ActivityError):
    """Raised when an event is recorded outside `transaction.atomic()`, where it could outlive the change or be lost without it."""

    def __init__(self, action: str) -> None:
        super().__init__(f"Record {action} inside the transaction.atomic() of the change that it tells of.")
        self.action = action


class NotAuditable(ActivityError):
    """Raised when rows of an audited model would be changed in a way that can't be recorded. Nothing has been changed."""


class OutboxFull(ActivityError):
    """Raised when events are sent in while so many wait for MongoDB that the server's disk is in danger. None was kept."""

    status = 503

    def __init__(self, *, owner: str, waiting_bytes: int) -> None:
        super().__init__(
            "The activity log can't take in events right now, and kept none of these. Send them again later."
        )
        self.owner = owner
        self.waiting_bytes = waiting_bytes
        self.retry_after = 30


class LogUnavailable(ActivityError):
    """Raised when MongoDB doesn't answer in time. Nothing that was recorded is lost: it waits in the outbox."""

    status = 503

    def __init__(self, reason: str) -> None:
        super().__init__(
            "The activity log can't be reached right now. Events are still recorded, and appear when it is back."
        )
        self.reason = reason
        self.retry_after = 5


class SequenceConflict(ActivityError):
    """Raised when the log in MongoDB contradicts the outbox in Postgres, as after a restore of one of them alone."""

    def __init__(self, *, tenant: str, event_id: str, seq: int, found: int | None) -> None:
        held = "another event has this number" if found is None else f"the log has it as number {found}"
        super().__init__(f"Event {event_id} of {tenant} can't be appended as number {seq}: {held}.")
        self.tenant = tenant
        self.event_id = event_id
        self.seq = seq
        self.found = found
