"""`/webhooks`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from activity.api import caller
from activity.webhooks import selectors, services
from activity.webhooks.schemas import (
    DeliveryFilter,
    DeliveryOut,
    DeliveryPageOut,
    ListFilter,
    NewSecretOut,
    WebhookIn,
    WebhookOut,
    WebhookPageOut,
    WebhookPatch,
)

router = Router(tags=["Webhooks"])


@router.get("/webhooks", response=WebhookPageOut, summary="List webhooks, oldest first")
def webhook_list(request: HttpRequest, page: Query[ListFilter]) -> dict[str, Any]:
    caller(request).require("webhooks.read")
    found = selectors.webhook_page(limit=page.limit, cursor=page.cursor)
    return {"items": [WebhookOut.of(webhook) for webhook in found.items], "next": found.next}


@router.post("/webhooks", response={201: NewSecretOut}, summary="Have events sent to an address")
def webhook_post(request: HttpRequest, body: WebhookIn) -> Status[dict[str, Any]]:
    """It is sent what comes into the log from now on. The answer is the only one that holds the secret."""
    caller(request).require("webhooks.write")
    webhook, secret = services.webhook_create(name=body.name, url=body.url, actions=body.actions)
    return Status(201, {**WebhookOut.of(webhook), "secret": secret})


@router.get("/webhooks/{uuid:webhook_id}", response=WebhookOut, summary="A webhook")
def webhook_get(request: HttpRequest, webhook_id: UUID) -> dict[str, Any]:
    caller(request).require("webhooks.read")
    return WebhookOut.of(selectors.webhook_get(webhook_id))


@router.patch("/webhooks/{uuid:webhook_id}", response=WebhookOut, summary="Change a webhook")
def webhook_patch(request: HttpRequest, webhook_id: UUID, body: WebhookPatch) -> dict[str, Any]:
    caller(request).require("webhooks.write")
    changes = body.model_dump(exclude_unset=True)
    return WebhookOut.of(services.webhook_update(webhook=selectors.webhook_get(webhook_id), **changes))


@router.delete("/webhooks/{uuid:webhook_id}", response={204: None}, summary="Remove a webhook with its deliveries")
def webhook_delete(request: HttpRequest, webhook_id: UUID) -> Status[None]:
    caller(request).require("webhooks.write")
    services.webhook_remove(webhook=selectors.webhook_get(webhook_id))
    return Status(204, None)


@router.post("/webhooks/{uuid:webhook_id}/secret", response=NewSecretOut, summary="Make another secret")
def webhook_secret(request: HttpRequest, webhook_id: UUID) -> dict[str, Any]:
    """For a day messages are signed with the former one too. The answer is the only one that holds the new one."""
    caller(request).require("webhooks.write")
    webhook, secret = services.webhook_rotate(webhook=selectors.webhook_get(webhook_id))
    return {**WebhookOut.of(webhook), "secret": secret}


@router.post("/webhooks/{uuid:webhook_id}/test", response={202: DeliveryOut}, summary="Send a test message")
def webhook_test(request: HttpRequest, webhook_id: UUID) -> Status[dict[str, Any]]:
    """It is sent once, soon after this answer; how it went stands in the list of deliveries."""
    caller(request).require("webhooks.write")
    return Status(202, DeliveryOut.of(services.webhook_test(webhook=selectors.webhook_get(webhook_id))))


@router.get("/webhooks/{uuid:webhook_id}/deliveries", response=DeliveryPageOut, summary="What was sent, newest first")
def delivery_list(request: HttpRequest, webhook_id: UUID, filters: Query[DeliveryFilter]) -> dict[str, Any]:
    """Deliveries that have ended are kept for 14 days."""
    caller(request).require("webhooks.read")
    webhook = selectors.webhook_get(webhook_id)
    page = selectors.delivery_page(webhook, limit=filters.limit, cursor=filters.cursor, state=filters.state or "")
    return {"items": [DeliveryOut.of(delivery) for delivery in page.items], "next": page.next}


@router.post(
    "/webhooks/{uuid:webhook_id}/deliveries/{uuid:delivery_id}/resend",
    response={202: DeliveryOut},
    summary="Send a delivery again",
)
def delivery_resend(request: HttpRequest, webhook_id: UUID, delivery_id: UUID) -> Status[dict[str, Any]]:
    """With the same `Webhook-Id`, so that the receiver can know the repeat. One that waits is sent at once."""
    caller(request).require("webhooks.write")
    delivery = selectors.delivery_get(selectors.webhook_get(webhook_id), delivery_id)
    return Status(202, DeliveryOut.of(services.delivery_resend(delivery=delivery)))
