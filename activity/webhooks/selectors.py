"""Reading webhooks and deliveries, and when there is something to send."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch
from django.db.models.functions import Now
from django.utils import timezone

from activity.models import LogHead
from activity.webhooks.errors import WebhookNotFound
from activity.webhooks.models import Attempt, Delivery, Webhook
from tenants.pages import Page, keyset_page


def webhooks() -> list[Webhook]:
    """All of them, oldest first: there are few (services.MAX_WEBHOOKS)."""
    return list(Webhook.objects.order_by("created_at", "id"))


def webhook_page(*, limit: int = 50, cursor: str | None = None) -> Page[Webhook]:
    """A page of the webhooks, oldest first. Raises BadCursor."""
    return keyset_page(Webhook.objects.all(), limit=limit, cursor=cursor)


def webhook_get(webhook_id: UUID) -> Webhook:
    """A webhook. Raises WebhookNotFound."""
    webhook = Webhook.objects.filter(pk=webhook_id).first()
    if webhook is None:
        raise WebhookNotFound()
    return webhook


def delivery_page(webhook: Webhook, *, limit: int = 50, cursor: str | None = None, state: str = "") -> Page[Delivery]:
    """A page of a webhook's deliveries with their attempts, newest first. Raises BadCursor."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("-id"))
    found = webhook.deliveries.prefetch_related(attempts)
    if state:
        found = found.filter(state=state)
    return keyset_page(found, limit=limit, cursor=cursor, newest=True)


def delivery_get(webhook: Webhook, delivery_id: UUID) -> Delivery:
    """A delivery of the webhook. Raises WebhookNotFound."""
    delivery = webhook.deliveries.filter(pk=delivery_id).first()
    if delivery is None:
        raise WebhookNotFound("delivery")
    return delivery


def waiting(webhook: Webhook) -> int:
    """How many events of the log are still to be looked at for the webhook."""
    appended = LogHead.objects.values_list("appended", flat=True).first() or 0
    return max(0, appended - webhook.cursor)


def has_news() -> bool:
    """Whether the log has events for a webhook that waits for nothing else: one query."""
    log_goes_further = LogHead.objects.filter(appended__gt=OuterRef("cursor"))
    held_up = Delivery.objects.filter(webhook=OuterRef("pk"), state=Delivery.State.WAITING, is_once=False)
    return Webhook.objects.filter(Exists(log_goes_further), ~Exists(held_up), is_active=True).exists()


def due() -> list[UUID]:
    """The webhooks that something is to be sent to now; whoever sends to one already may be among them."""
    moments, now = _moments()
    return [webhook_id for webhook_id, moment in moments.items() if moment <= now]


def seconds_to_next() -> float | None:
    """How long until something is to be sent: 0 when it is now, None when there is nothing."""
    moments, now = _moments()
    return max(0.0, (min(moments.values()) - now).total_seconds()) if moments else None


def _moments() -> tuple[dict[UUID, datetime], datetime]:
    """When each webhook is due, of those that are; and Postgres's now. A webhook that somebody sends to is due when its claim ends."""
    asked: dict[UUID, datetime] = {}
    retried: dict[UUID, datetime] = {}
    waiting = Delivery.objects.filter(state=Delivery.State.WAITING).order_by("-next_at")
    for webhook_id, is_once, next_at in waiting.values_list("webhook_id", "is_once", "next_at"):
        (asked if is_once else retried)[webhook_id] = next_at
    appended = LogHead.objects.values_list("appended", flat=True).first() or 0
    rows = Webhook.objects.values_list("id", "is_active", "cursor", "claimed_until", Now())
    found: dict[UUID, datetime] = {}
    now = timezone.now()
    for webhook_id, is_active, cursor, claimed_until, now in rows:
        times = [asked[webhook_id]] if webhook_id in asked else []
        if is_active and (webhook_id in retried or appended > cursor):
            times.append(retried.get(webhook_id, now))
        if times:
            found[webhook_id] = max(min(times), claimed_until or now, now)
    return found, now
