"""Who did it, for the events that are recorded on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from accounts.models import User
from activity.context import Actor, RecordingContext, recording
from tenants.context import active
from tenants.refs import TenantRef


def actor_of(user: User) -> Actor:
    """A user as the actor of an event: a member of a tenant, or an operator in control."""
    kind = "member" if isinstance(active(), TenantRef) else "operator"
    return Actor(type=kind, id=str(user.pk), name=user.get_full_name())


def record_as(user: User, *, source: str | None = None) -> None:
    """From here on in this request, events name this user as the actor. accounts.middleware ends it."""
    recording.set(_with(user, source))


@contextmanager
def recording_as(user: User, *, source: str | None = None) -> Iterator[None]:
    """Within the block, events name this user as the actor."""
    token = recording.set(_with(user, source))
    try:
        yield
    finally:
        recording.reset(token)


def _with(user: User, source: str | None) -> RecordingContext:
    context = recording.get() or RecordingContext()
    return replace(context, actor=actor_of(user), source=source or context.source)
