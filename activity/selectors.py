"""What is read of the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from activity import log as activity_log
from activity.errors import LogUnavailable
from activity.models import LogHead, OutboxEvent
from activity.personal import reveal, widened
from activity.search import Query
from tenants.context import current
from tenants.pages import DEFAULT_LIMIT, Page
from tenants.refs import Ref

log = structlog.get_logger(__name__)


def event_page(
    ref: Ref, query: Query, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[dict[str, Any]]:
    """A page of the log of the active tenant (or control), `ref`, for those who may read it.

    Raises BadCursor, LogUnavailable and SubjectKeysUnavailable.
    """
    first, last = log_bounds(ref)
    page = activity_log.page(ref, first=first, head=last, query=widened(ref, query), cursor=cursor, limit=limit)
    return replace(page, items=reveal(ref, page.items))


def latest(
    ref: Ref, *, limit: int = 10, actor: str | None = None, target: str | None = None
) -> list[dict[str, Any]] | None:
    """The latest events for a page that shows other things too: None while the log can't be reached."""
    try:
        return event_page(ref, Query(actor=actor, target=target), limit=limit).items
    except LogUnavailable as error:
        log.warning("activity_log_unavailable", reason=error.reason)
        return None


def events_total(ref: Ref) -> int:
    """How many events the log of the active tenant (or control) has."""
    first, last = log_bounds(ref)
    return last - first + 1


def log_bounds(ref: Ref) -> tuple[int, int]:
    """The numbers of the first and the last event in the log of the active tenant (or control); (1, 0) when there is none."""
    if ref.alias != current().alias:
        raise ValueError(f"The log of {ref} is read while {current()} is active.")
    return LogHead.objects.values_list("first", "appended").first() or (1, 0)


def shown(ref: Ref, documents: Sequence[activity_log.Document]) -> list[dict[str, Any]]:
    """The log's documents as the API shows them. Whatever an export gives out passes here (in an event loop: log_async.items)."""
    return reveal(ref, [activity_log.item(document) for document in documents])


def event_get(event_id: UUID) -> dict[str, Any] | None:
    """An event of the active tenant by its id, from the outbox or the log, without its number. Raises LogUnavailable."""
    waiting = OutboxEvent.objects.filter(event_id=event_id).values_list("document", flat=True).first()
    # What isn't in the outbox any more is in the log by now, so the order of the two look-ups matters.
    found = activity_log.item(waiting) if waiting else activity_log.get(current(), event_id)
    return found and {**reveal(current(), [found])[0], "seq": None}


def outbox_oldest() -> datetime | None:
    """When the oldest event that isn't in the log yet was recorded."""
    return OutboxEvent.objects.order_by("id").values_list("recorded_at", flat=True).first()
