"""What a message holds: the next events of the log that a webhook asks for, and the body of a delivery, the same in each attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from activity import selectors
from activity.search import Query
from activity.webhooks.models import Delivery, Webhook
from tenants.pages import encode_cursor
from tenants.refs import TenantRef

MAX_EVENTS: Final = 100
MAX_BYTES: Final = 1024 * 1024  # of the events together, but for a single one that has more
MAX_SPAN: Final = 2_000  # numbers from the first event to the last: as many are read again for each attempt
PORTION: Final = 200

_OLDEST: Final = Query(order="oldest")


def wants(actions: Sequence[str], action: str) -> bool:
    """Whether an action is one of these, or begins with one that ends in a dot. None of them means all actions."""
    return not actions or any(action.startswith(asked) if asked.endswith(".") else action == asked for asked in actions)


def next_delivery(ref: TenantRef, webhook: Webhook) -> Delivery | int:
    """The next message, not saved, of what the log has behind the webhook's cursor; else how far nothing is to be sent.

    A filter that lets little pass is gone through piece by piece: the answer may be a number below the log's end. Raises LogUnavailable.
    """
    _, end = selectors.log_bounds(ref)
    first = last = webhook.cursor
    events = size = 0
    position = webhook.cursor + 1
    while last < end:
        page = selectors.event_page(ref, _OLDEST, limit=PORTION, cursor=encode_cursor(position))
        for event in page.items:
            if wants(webhook.actions, event["action"]):
                size += len(_encoded(event))
                if events and size > MAX_BYTES:
                    return _delivery(webhook, first, last, events)
                first = first if events else event["seq"]
                events += 1
            last = event["seq"]
            if events == MAX_EVENTS or (events and last - first >= MAX_SPAN):
                return _delivery(webhook, first, last, events)
        # Numbers may be missing: what is old leaves the log.
        last = max(last, position + PORTION - 1) if not page.items and page.next else last
        if page.next is None:
            last = max(last, end)
        if not events and last - webhook.cursor >= MAX_SPAN:
            return last
        position = last + 1
    return _delivery(webhook, first, last, events) if events else last


def _delivery(webhook: Webhook, first: int, last: int, events: int) -> Delivery:
    return Delivery(webhook=webhook, first_seq=first, last_seq=last, actions=webhook.actions, events=events)


def body_of(ref: TenantRef, delivery: Delivery) -> bytes | None:
    """The body; None when nothing of what it held is in the log any more. Raises LogUnavailable."""
    if delivery.kind == Delivery.Kind.TEST:
        return _body(ref, delivery, "webhook.test", {"webhook": str(delivery.webhook_id)})
    events = [event for event in _range(ref, delivery) if wants(delivery.actions, event["action"])]
    return _body(ref, delivery, "activity.events", {"events": events}) if events else None


def _range(ref: TenantRef, delivery: Delivery) -> list[dict[str, Any]]:
    assert delivery.first_seq is not None
    assert delivery.last_seq is not None
    found: list[dict[str, Any]] = []
    cursor: str | None = encode_cursor(delivery.first_seq)
    while cursor is not None:
        page = selectors.event_page(ref, _OLDEST, limit=PORTION, cursor=cursor)
        found += [event for event in page.items if event["seq"] <= delivery.last_seq]
        past_it = bool(page.items) and page.items[-1]["seq"] >= delivery.last_seq
        cursor = None if past_it else page.next
    return found


def _body(ref: TenantRef, delivery: Delivery, kind: str, data: dict[str, Any]) -> bytes:
    """The type, the moment and the data of Standard Webhooks. The moment is the message's, not the attempt's."""
    tenant = {"id": ref.id, "slug": ref.slug}
    return _encoded({"type": kind, "timestamp": delivery.created_at, "data": {"tenant": tenant, **data}})


def _encoded(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
