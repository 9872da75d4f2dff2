"""Every error of activity.

ActivityError
├── EventInvalid           an event, or one of a batch, can't be recorded as it is
├── QuotaExceeded          the plan's events of today are used up
├── NotInTransaction       an event was recorded outside the transaction of the change it tells of
├── StatsInvalid           counts can't be given for the range that was asked for
├── SearchInvalid          a search can't be saved as it is
├── SearchNotFound         no such saved search, or not one that the caller may see or delete
├── NotAuditable           rows of an audited model would change, and nobody could say which or how
├── OutboxFull             too much waits for MongoDB to take in more from outside
├── LogUnavailable         MongoDB is away; what was recorded is safe in the outbox
├── TooManyFollowers       the organisation, or this process, has as many live tails open as it may
├── LastEventUnknown       a client comes back with an id that no live tail gave it
├── SequenceConflict       MongoDB holds another event under a number, or another number for an event
├── SegmentEnded           the chain's segment doesn't fit this database any more, and a new one must be opened
└── RetentionInvalid       a tenant asked to keep its events for longer than its plan does, or not at all
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


class QuotaExceeded(ActivityError):
    """Raised when a tenant's product sends more events in a day than its plan has. Nothing of the request was kept."""

    status = 429

    def __init__(self, *, plan: str, limit: int, used: int, wanted: int, retry_after: int) -> None:
        super().__init__(
            f"The plan has {limit:,} events a day; {used:,} were recorded today and these would be {wanted:,} more, so none of them was "
            "kept. Send them again after midnight UTC, send fewer at once, or ask for another plan."
        )
        self.limit = limit
        self.used = used
        self.retry_after = retry_after
        # As every PlanLimitReached has them.
        self.members = {"type": "plan-limit", "meter": "events_sent", "plan": plan, "limit": limit, "used": used}


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


class SegmentEnded(ActivityError):
    """Raised when a segment of the chain can't go on: the route has changed, or the log is ahead of Postgres. The relay opens a new one."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The chain goes on in a new segment: {reason}.")
        self.reason = reason


class RetentionInvalid(ActivityError):
    """Raised when a number of days can't be a tenant's retention. `errors` has the sentence by field."""

    status = 422

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.errors = {"keep_days": [sentence]}


class StatsInvalid(ActivityError):
    """Raised when there are no counts for what was asked. `errors` has its sentences by field."""

    status = 422

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__(next(iter(errors.values()))[0])
        self.errors = dict(errors)


class SearchInvalid(ActivityError):
    """Raised when a search can't be saved. `errors` has its sentences by field."""

    status = 422

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__(next(iter(errors.values()))[0])
        self.errors = dict(errors)


class SearchNotFound(ActivityError):
    """Raised when an id names no saved search that is the caller's. The sentence is the same for what is others'."""

    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such saved search here.")


class TooManyFollowers(ActivityError):
    """Raised when one more live tail can't be opened: 429 when the organisation has as many as it may, 503 when the process has."""

    def __init__(self, *, of_tenant: bool, limit: int) -> None:
        who = "Your organisation has" if of_tenant else "This process has"
        super().__init__(f"{who} {limit} live tails open, which is all that it may; close one, or try again later.")
        self.status = 429 if of_tenant else 503
        self.retry_after = 10


class LastEventUnknown(ActivityError):
    """Raised for a Last-Event-ID that isn't the number of an event."""

    status = 422

    def __init__(self) -> None:
        sentence = "Last-Event-ID is the number of the last event that was received; leave it out to begin anew."
        super().__init__(sentence)
        self.errors = {"Last-Event-ID": [sentence]}
