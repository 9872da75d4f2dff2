"""Delivering: each webhook's messages in the order of the log, each again until it was taken.

1. Claim the webhook, and hold the claim while at work: nobody else sends to it meanwhile. Whoever was killed lets go when the claim ends.
2. The message that waits, or else a new one made of what is new in the log. It is a row, committed before anything is sent.
3. Send it. Then note what was answered, under the claim: taken, the cursor goes on; not taken, it waits, each time for longer.

Killed between 2 and 3, or with an answer that never arrived, the message is sent again with the same id: receivers know a repeat by it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from activity.errors import LogUnavailable
from activity.outbox import record
from activity.webhooks import messages, outgoing, schedule, selectors, signing
from activity.webhooks.events import WebhookDisabled
from activity.webhooks.models import Attempt, Delivery, Webhook
from activity.webhooks.outgoing import Answer
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

CLAIM_SECONDS: Final = 30  # longer than an attempt takes
FIRST_DELAY: Final = 5.0  # seconds, doubled with each attempt
LONGEST_DELAY: Final = 6 * 3600.0
GIVE_UP_AFTER: Final = timedelta(days=3)
LOG_AWAY_DELAY: Final = 10.0

_CLAIM: Final = """
UPDATE webhooks_webhook
SET claim = claim + 1, claimed_until = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE id = (
    SELECT id FROM webhooks_webhook
    WHERE id = %(id)s AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    FOR UPDATE SKIP LOCKED
)
RETURNING *
"""
_HOLD: Final = """
UPDATE webhooks_webhook SET claimed_until = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE id = %(id)s AND claim = %(claim)s
RETURNING *
"""


def deliver_due(ref: TenantRef, *, may_go_on: Callable[[], bool]) -> bool:
    """Deliver what is due to the active tenant's webhooks, for as long as `may_go_on` says, asked before each attempt.

    Then schedule what is left; returns whether some of it is due already. Raises django.db.DatabaseError, and then the tenant is looked
    after again, as scheduled before.
    """
    delay = 0.0
    try:
        for webhook_id in selectors.due():
            _deliver(ref, webhook_id, may_go_on)
    except LogUnavailable as error:
        log.warning("webhooks_wait", reason=error.reason)
        delay = LOG_AWAY_DELAY
    return _settle(ref, at_least=delay)


def _settle(ref: TenantRef, *, at_least: float) -> bool:
    """Note in control when there is something to do next; whether that is now.

    It is asked again after that was written: what has come meanwhile may have been marked before, and overwritten here.
    """
    seconds = selectors.seconds_to_next()
    if seconds is None:
        schedule.clear(ref)
    else:
        schedule.mark(ref, seconds=max(seconds, at_least))
    again = selectors.seconds_to_next()
    if again is not None and (seconds is None or again < seconds):
        schedule.mark(ref, seconds=max(again, at_least))
    return again == 0 and at_least == 0


def _deliver(ref: TenantRef, webhook_id: UUID, may_go_on: Callable[[], bool]) -> None:
    webhook = _one(_CLAIM, id=webhook_id)
    claimed = webhook
    try:
        while webhook is not None and may_go_on():
            delivery = _next(ref, webhook, may_go_on)
            if delivery is None or not _attempt(ref, webhook, delivery):
                return
            webhook = _one(_HOLD, id=webhook_id, claim=webhook.claim)
    finally:
        if claimed is not None:
            Webhook.objects.filter(pk=webhook_id, claim=claimed.claim).update(claimed_until=None)


def _one(statement: str, **facts: Any) -> Webhook | None:
    return next(iter(Webhook.objects.raw(statement, {**facts, "seconds": CLAIM_SECONDS})), None)


def _next(ref: TenantRef, webhook: Webhook, may_go_on: Callable[[], bool]) -> Delivery | None:
    """What to send now: what a person asked for, the message that waits, or a new one; None when nothing is due."""
    waiting = webhook.deliveries.filter(state=Delivery.State.WAITING)
    asked_for = waiting.filter(is_once=True, next_at__lte=Now()).order_by("next_at", "id").first()
    if asked_for is not None:
        return asked_for
    if not webhook.is_active:
        return None
    former = waiting.filter(is_once=False).first()
    if former is not None:
        return waiting.filter(pk=former.pk, next_at__lte=Now()).first()
    while isinstance(found := messages.next_delivery(ref, webhook), int):
        if found == webhook.cursor or not may_go_on():
            return None
        if not Webhook.objects.filter(pk=webhook.pk, claim=webhook.claim).update(cursor=found):
            return None
        webhook.cursor = found
    found.save(force_insert=True)
    return Delivery.objects.get(pk=found.pk)


def _attempt(ref: TenantRef, webhook: Webhook, delivery: Delivery) -> bool:
    """Send it once; whether the next one may follow."""
    body = messages.body_of(ref, delivery)
    if body is None:
        answer = Answer(None, "Its events are no longer in the log.", "", 0.0)
        return _note(webhook, delivery, answer, is_gone=True)
    headers = signing.headers(
        message_id=str(delivery.pk), timestamp=int(time.time()), body=body, secrets=secrets_of(webhook)
    )
    answer = outgoing.post(webhook.url, body, headers)
    log.info(
        "webhook_sent",
        webhook=str(webhook.pk),
        delivery=str(delivery.pk),
        status=answer.status,
        milliseconds=round(answer.seconds * 1000),
    )
    return _note(webhook, delivery, answer)


def secrets_of(webhook: Webhook) -> list[str]:
    """The secrets that are valid now, the newest first."""
    blobs = [webhook.encrypted_secret]
    if webhook.encrypted_former_secret and webhook.former_secret_until and webhook.former_secret_until > timezone.now():
        blobs.append(webhook.encrypted_former_secret)
    return [webhook.decrypt(blob) for blob in blobs]


def _note(webhook: Webhook, delivery: Delivery, answer: Answer, *, is_gone: bool = False) -> bool:
    """Write down what became of it, unless the claim was lost; whether the next one may follow."""
    with transaction.atomic():
        own = Webhook.objects.select_for_update().filter(pk=webhook.pk, claim=webhook.claim).first()
        if own is None:
            log.warning("webhook_claim_lost", webhook=str(webhook.pk), delivery=str(delivery.pk))
            return False
        Attempt.objects.create(
            delivery=delivery,
            status=answer.status,
            duration_ms=round(answer.seconds * 1000),
            error=answer.error[:300],
            excerpt=answer.excerpt,
        )
        delivery.attempts_made += 1
        if answer.is_taken or is_gone:
            _end(own, delivery, Delivery.State.FAILED if is_gone else Delivery.State.DELIVERED)
        elif delivery.is_once:
            _end(own, delivery, Delivery.State.FAILED)
        else:
            _wait(own, delivery, answer)
    return answer.is_taken or is_gone or delivery.is_once


def _end(webhook: Webhook, delivery: Delivery, state: Delivery.State) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(
        state=state, attempts_made=delivery.attempts_made, ended_at=Now(), is_once=False
    )
    changes: dict[str, Any] = {}
    if state == Delivery.State.DELIVERED:
        changes["failing_since"] = None
    if not delivery.is_once and delivery.last_seq is not None:
        changes["cursor"] = max(webhook.cursor, delivery.last_seq)
    Webhook.objects.filter(pk=webhook.pk).update(**changes)


def _wait(webhook: Webhook, delivery: Delivery, answer: Answer) -> None:
    """Try again later; or give up on the webhook, whose message keeps waiting until somebody switches it on again."""
    delay = delay_after(delivery.attempts_made, answer.retry_after)
    Delivery.objects.filter(pk=delivery.pk).update(
        attempts_made=delivery.attempts_made, next_at=Now() + timedelta(seconds=delay)
    )
    now = timezone.now()
    if webhook.failing_since is None:
        webhook.failing_since = now
    webhook.save(update_fields=["failing_since"])
    if not webhook.is_active:
        return
    if answer.status == 410:
        _disable(webhook, "It answered 410: nothing is to be sent there any more.")
    elif now - webhook.failing_since >= GIVE_UP_AFTER:
        _disable(webhook, f"Nothing was taken for {GIVE_UP_AFTER.days} days. The last time: {answer.error}")


def _disable(webhook: Webhook, reason: str) -> None:
    webhook.is_active, webhook.disabled_reason = False, reason[:300]
    webhook.save(update_fields=["is_active", "disabled_reason"])
    record(WebhookDisabled.of(webhook, reason=webhook.disabled_reason))
    log.warning("webhook_disabled", webhook=str(webhook.pk))


def delay_after(attempts: int, asked: int | None = None) -> float:
    """Seconds until the next attempt: doubled each time, up to LONGEST_DELAY, and a fifth more or less, so that many don't come at once.

    `asked` is what the receiver itself asked for, which is kept when it is longer.
    """
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempts - 1, 20))
    return max(delay * random.uniform(0.8, 1.2), float(asked or 0))  # noqa: S311  no secret
