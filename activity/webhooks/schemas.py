"""What the webhooks API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import ConfigDict

from activity.webhooks.models import Delivery, Webhook

StateName = Literal["waiting", "delivered", "failed"]
_ACTIONS = "Which events: exact actions, or prefixes that end in a dot (`member.`). None of them means all."


class WebhookIn(Schema):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    url: str = Field(max_length=2000, description="Begins with https:// and leads to the public internet.")
    actions: list[str] = Field(default_factory=list, max_length=50, description=_ACTIONS)


class WebhookPatch(Schema):
    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=100)
    url: str = Field("", max_length=2000)
    actions: list[str] = Field(default_factory=list, max_length=50, description=_ACTIONS)
    is_active: bool = Field(True, description="A webhook that is switched on again goes on where it stopped.")


class WebhookOut(Schema):
    id: UUID
    name: str
    url: str
    actions: list[str]
    is_active: bool
    disabled_reason: str | None = Field(description="Why Tenantry switched it off; null when it didn't.")
    failing_since: datetime | None
    delivered_seq: int = Field(description="The number of the last event that was delivered, or left out by `actions`.")
    created_at: datetime

    @staticmethod
    def of(webhook: Webhook) -> dict[str, Any]:
        """A webhook as the API shows it."""
        return {
            "id": webhook.pk,
            "name": webhook.name,
            "url": webhook.url,
            "actions": webhook.actions,
            "is_active": webhook.is_active,
            "disabled_reason": webhook.disabled_reason or None,
            "failing_since": webhook.failing_since,
            "delivered_seq": webhook.cursor,
            "created_at": webhook.created_at,
        }


class NewSecretOut(WebhookOut):
    secret: str = Field(description="Shown this once: messages are signed with it.")


class WebhookPageOut(Schema):
    items: list[WebhookOut]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")


class ListFilter(Schema):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)


class DeliveryFilter(ListFilter):
    state: StateName | None = None


class AttemptOut(Schema):
    at: datetime
    status: int | None = Field(description="The status that was answered; null when there was no answer.")
    duration_ms: int
    error: str | None
    excerpt: str = Field(description="The beginning of what was answered.")


class DeliveryOut(Schema):
    id: UUID = Field(description="The message's `Webhook-Id`, in every attempt.")
    kind: Literal["events", "test"]
    state: StateName
    first_seq: int | None
    last_seq: int | None
    events: int
    attempts: list[AttemptOut] = Field(description="The newest first.")
    next_at: datetime | None = Field(description="When it is sent (again); null when it has ended.")
    created_at: datetime
    ended_at: datetime | None

    @staticmethod
    def of(delivery: Delivery) -> dict[str, Any]:
        """A delivery as the API shows it."""
        attempts = [
            {
                "at": attempt.at,
                "status": attempt.status,
                "duration_ms": attempt.duration_ms,
                "error": attempt.error or None,
                "excerpt": attempt.excerpt,
            }
            for attempt in sorted(delivery.attempts.all(), key=lambda attempt: attempt.pk, reverse=True)
        ]
        return {
            "id": delivery.pk,
            "kind": delivery.kind,
            "state": delivery.state,
            "first_seq": delivery.first_seq,
            "last_seq": delivery.last_seq,
            "events": delivery.events,
            "attempts": attempts,
            "next_at": delivery.next_at if delivery.is_waiting else None,
            "created_at": delivery.created_at,
            "ended_at": delivery.ended_at,
        }


class DeliveryPageOut(Schema):
    items: list[DeliveryOut]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")
