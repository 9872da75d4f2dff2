"""What people and programs do with webhooks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models.functions import Now

from activity.outbox import record
from activity.selectors import log_bounds
from activity.webhooks import addresses, events, schedule, signing
from activity.webhooks.errors import TooManyWebhooks, WebhookInvalid, WebhookNotFound
from activity.webhooks.models import Delivery, Webhook
from tenants import context, hints

DELIVER: Final = "webhooks.deliver"  # the task's name
MAX_WEBHOOKS: Final = 10
MAX_NAME: Final = 100
MAX_ACTIONS: Final = 50
FORMER_SECRET_VALID: Final = timedelta(days=1)
KEPT_FOR: Final = timedelta(days=14)
PRUNED_AT_ONCE: Final = 5_000

_MAKING: Final = 7_203_205  # the advisory lock's key; such locks are each database's own
_ACTION: Final = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*\.?")


def webhook_create(*, name: str, url: str, actions: Sequence[str] = ()) -> tuple[Webhook, str]:
    """A webhook that is sent what comes into the log from now on, and its secret, which is known now and never again.

    Raises WebhookInvalid and TooManyWebhooks.
    """
    webhook = Webhook(name=_name(name), url=_url(url), actions=_actions(actions))
    secret = signing.new_secret()
    webhook.encrypted_secret = webhook.encrypt(secret)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_MAKING])
        if Webhook.objects.count() >= MAX_WEBHOOKS:
            raise TooManyWebhooks(MAX_WEBHOOKS)
        _, webhook.cursor = log_bounds(context.current())
        webhook.save(force_insert=True)
        record(events.WebhookCreated.of(webhook, actions=webhook.actions))
    return Webhook.objects.get(pk=webhook.pk), secret


def webhook_update(
    *,
    webhook: Webhook,
    name: str | None = None,
    url: str | None = None,
    actions: Sequence[str] | None = None,
    is_active: bool | None = None,
) -> Webhook:
    """Change what is given. One that is switched on goes on where it stopped, and at once. Raises WebhookInvalid and WebhookNotFound."""
    wanted: dict[str, Any] = {}
    if name is not None:
        wanted["name"] = _name(name)
    if url is not None:
        wanted["url"] = _url(url)
    if actions is not None:
        wanted["actions"] = _actions(actions)
    if is_active is not None:
        wanted["is_active"] = is_active
    with transaction.atomic():
        webhook = _locked(webhook)
        former = {field: getattr(webhook, field) for field, value in wanted.items() if getattr(webhook, field) != value}
        if not former:
            return webhook
        for field in former:
            setattr(webhook, field, wanted[field])
        if former.get("is_active") is False:
            webhook.disabled_reason, webhook.failing_since = "", None
        webhook.save(update_fields=[*former, "disabled_reason", "failing_since"])
        # An address may hold a secret, so the log says that it changed, and to which host.
        shown = {field: [value, wanted[field]] if field != "url" else ["…", "…"] for field, value in former.items()}
        record(events.WebhookUpdated.of(webhook, changes=shown))
        if "url" in former or "is_active" in former:
            waiting = webhook.deliveries.filter(state=Delivery.State.WAITING, is_once=False)
            waiting.update(next_at=Now())
        _look_after()
    return webhook


def webhook_remove(*, webhook: Webhook) -> None:
    """Remove a webhook with its deliveries. Raises WebhookNotFound."""
    with transaction.atomic():
        webhook = _locked(webhook)
        record(events.WebhookRemoved.of(webhook))
        webhook.delete()


def webhook_rotate(*, webhook: Webhook) -> tuple[Webhook, str]:
    """Another secret, which is known now and never again. The former one signs too for FORMER_SECRET_VALID. Raises WebhookNotFound."""
    secret = signing.new_secret()
    with transaction.atomic():
        webhook = _locked(webhook)
        Webhook.objects.filter(pk=webhook.pk).update(
            encrypted_secret=webhook.encrypt(secret),
            encrypted_former_secret=webhook.encrypted_secret,
            former_secret_until=Now() + FORMER_SECRET_VALID,
        )
        record(events.WebhookUpdated.of(webhook, changes={"secret": ["former", "new"]}))
    return Webhook.objects.get(pk=webhook.pk), secret


def webhook_test(*, webhook: Webhook) -> Delivery:
    """Send a test message, once, whether the webhook is switched on or not. Raises WebhookNotFound."""
    with transaction.atomic():
        webhook = _locked(webhook)
        test = Delivery(webhook=webhook, kind=Delivery.Kind.TEST, is_once=True)
        test.save(force_insert=True)
        _look_after()
    return Delivery.objects.get(pk=test.pk)


def delivery_resend(*, delivery: Delivery) -> Delivery:
    """Send a delivery again, under the same id: one that waits at once, one that has ended once. Raises WebhookNotFound."""
    with transaction.atomic():
        found = Delivery.objects.select_for_update().filter(pk=delivery.pk).first()
        if found is None:
            raise WebhookNotFound("delivery")
        changes: dict[str, Any] = {"next_at": Now()}
        if not found.is_waiting:
            changes |= {"state": Delivery.State.WAITING, "is_once": True, "ended_at": None}
        Delivery.objects.filter(pk=delivery.pk).update(**changes)
        _look_after()
    return Delivery.objects.get(pk=delivery.pk)


def deliveries_prune() -> int:
    """Throw away a batch of the deliveries that ended more than KEPT_FOR ago; returns how many."""
    old = Delivery.objects.filter(ended_at__lt=Now() - KEPT_FOR).exclude(state=Delivery.State.WAITING)
    ids = list(old.order_by("ended_at").values_list("pk", flat=True)[:PRUNED_AT_ONCE])
    Delivery.objects.filter(pk__in=ids).delete()
    return len(ids)


def _locked(webhook: Webhook) -> Webhook:
    found = Webhook.objects.select_for_update().filter(pk=webhook.pk).first()
    if found is None:
        raise WebhookNotFound()
    return found


def _look_after() -> None:
    """Have the webhooks looked after: scheduled before this commits, so that nothing waits unseen, and hinted at after."""
    schedule.mark(context.current_tenant())
    hints.send(DELIVER)


def _name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME:
        raise WebhookInvalid({"name": [f"Use 1 to {MAX_NAME} characters."]})
    if "\0" in name or not name.isprintable():
        raise WebhookInvalid({"name": ["This holds a character that can't be stored."]})
    return name


def _url(url: str) -> str:
    url = url.strip()
    addresses.checked(addresses.parse(url))
    return url


def _actions(actions: Sequence[str]) -> list[str]:
    kept = sorted({action.strip() for action in actions if action.strip()})
    if len(kept) > MAX_ACTIONS:
        raise WebhookInvalid({"actions": [f"Use at most {MAX_ACTIONS}."]})
    for action in kept:
        if len(action) > 100 or not _ACTION.fullmatch(action):
            raise WebhookInvalid(
                {
                    "actions": [
                        f"“{action[:100]}” is no action: write it like member.created, or member. for all that begin so."
                    ]
                }
            )
    return kept
