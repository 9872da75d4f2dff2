"""Taking an erased person's words out of the index in MongoDB, range by range of `seq`. Of the events nothing but `terms` changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from activity import reindex
from activity.models import LogHead
from activity.relay import relay
from tenants import subject_keys
from tenants.refs import Ref

WIDTH: Final = 1_000  # numbers of a range
_LOOK_AGAIN: Final = 0.1  # seconds


def _nothing() -> None:
    pass


def settle(ref: Ref, *, check: Callable[[], None] = _nothing) -> None:
    """Return when whatever was recorded before the keys were destroyed is in the log: no words of it can come into the index any more.

    First every process must have forgotten the keys. Then a relay that still had them may be appending: its documents are in the log before
    this one finds the outbox empty, and if it was stopped in the midst of it, this one appends the same documents first. `check` is
    called while it waits, and may raise. Raises LogUnavailable.
    """
    forgotten = time.monotonic() + subject_keys.FRESH_FOR
    while time.monotonic() < forgotten:
        check()
        time.sleep(_LOOK_AGAIN)
    while not relay(ref).emptied:
        check()
        time.sleep(_LOOK_AGAIN)


def last_number() -> int:
    """The last number that was given in the active tenant (or control)."""
    return LogHead.objects.values_list("seq", flat=True).first() or 0


def take_out(ref: Ref, subjects: Collection[str]) -> int:
    """Compute anew the terms of all events that tell of these people; answers how many. Raises LogUnavailable."""
    first, events, last = 1, 0, last_number()
    # After a restore of Postgres alone the log is further than the head.
    while first <= last or reindex.is_mentioned_from(ref, subjects, first):
        events += reindex.reindex(ref, subjects, first, first + WIDTH - 1)
        first += WIDTH
    return events
