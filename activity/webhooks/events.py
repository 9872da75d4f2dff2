"""What happens to webhooks, for the activity log. Addresses may hold secrets, so the log has the host alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from activity.events import Event, Target
from activity.webhooks.models import Webhook


@dataclass(frozen=True, kw_only=True)
class WebhookEvent(Event):
    host: str

    @classmethod
    def of(cls, webhook: Webhook, **facts: Any) -> Self:
        """The event about this webhook."""
        target = Target("webhook", str(webhook.pk), webhook.name)
        return cls(target=target, host=urlsplit(webhook.url).hostname or "", **facts)


@dataclass(frozen=True, kw_only=True)
class WebhookCreated(WebhookEvent):
    action: ClassVar[str] = "webhook.created"
    actions: list[str]


@dataclass(frozen=True, kw_only=True)
class WebhookUpdated(WebhookEvent):
    action: ClassVar[str] = "webhook.updated"
    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class WebhookRemoved(WebhookEvent):
    action: ClassVar[str] = "webhook.removed"


@dataclass(frozen=True, kw_only=True)
class WebhookDisabled(WebhookEvent):
    action: ClassVar[str] = "webhook.disabled"
    reason: str
