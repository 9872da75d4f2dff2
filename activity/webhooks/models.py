"""Webhooks, what was and is to be sent to them, and how each attempt went. In the tenant's own database."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from tenants import crypto
from tenants.context import current
from tenants.ids import new_id


class Webhook(models.Model):
    """An address of the tenant's that is sent the events of its log, in their order.

    `cursor` is the number of the last event that was delivered or that the filter left out: what comes after it is still to be sent.
    `claim` is the fence: whoever delivers raises it, and what becomes of a delivery is noted only under the claim that sent it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100)
    url = models.CharField(max_length=2000)
    # Which events: exact actions, or prefixes that end in a dot. None means all.
    actions = models.JSONField(default=list)
    encrypted_secret = models.BinaryField(editable=False)
    encrypted_former_secret = models.BinaryField(editable=False, null=True)
    former_secret_until = models.DateTimeField(null=True)

    is_active = models.BooleanField(default=True)
    # Why Tenantry switched it off; empty when a person did, or nobody.
    disabled_reason = models.CharField(max_length=300, blank=True)
    failing_since = models.DateTimeField(null=True)

    cursor = models.BigIntegerField(default=0)
    claim = models.BigIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    # Whoever changes one looks at it next, and the cursor must be what is there.
    reads_from_primary: ClassVar[bool] = True

    class Meta:
        indexes = [models.Index(fields=["created_at", "id"], name="webhook_created")]

    def __str__(self) -> str:
        return self.name

    def encrypt(self, secret: str) -> bytes:
        """The secret as it is kept: bound to this webhook of this tenant."""
        return crypto.encrypt(secret, associated=_owner(self.pk))

    def decrypt(self, blob: bytes | memoryview) -> str:
        """A secret of this webhook. Raises DecryptionFailed."""
        return crypto.decrypt(blob, associated=_owner(self.pk)).decode()


def _owner(webhook_id: UUID) -> str:
    return f"webhook:{current().id}:{webhook_id}"


class Delivery(models.Model):
    """A piece of the log that is sent to a webhook as one message, or a test. Its id is the message's, in every attempt.

    What it holds is read from the log each time: the events numbered from `first_seq` to `last_seq` that `actions` lets pass.
    """

    class Kind(models.TextChoices):
        EVENTS = "events"
        TEST = "test"

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.EVENTS)
    first_seq = models.BigIntegerField(null=True)
    last_seq = models.BigIntegerField(null=True)
    actions = models.JSONField(default=list)
    events = models.PositiveIntegerField(default=0)

    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    # A person asked for it (a test, or to send it again): it has one attempt, and the webhook's cursor stays where it is.
    is_once = models.BooleanField(default=False)
    attempts_made = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    reads_from_primary: ClassVar[bool] = True

    class Meta:
        indexes = [
            models.Index(fields=["webhook", "created_at", "id"], name="webhook_delivery_created"),
            models.Index(fields=["ended_at"], name="webhook_delivery_ended"),
            models.Index(fields=["next_at"], condition=models.Q(state="waiting"), name="webhook_delivery_waiting"),
        ]
        constraints = [
            # The events of a webhook are sent in their order: one message waits until the one before it was taken.
            models.UniqueConstraint(
                fields=["webhook"], condition=models.Q(state="waiting", is_once=False), name="webhook_one_waiting"
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def is_waiting(self) -> bool:
        """Whether it is still to be sent, for the first time or again."""
        return self.state == Delivery.State.WAITING


class Attempt(models.Model):
    """One time that a delivery was sent: what was answered, or why there was no answer."""

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts")
    at = models.DateTimeField(db_default=Now())
    status = models.PositiveSmallIntegerField(null=True)
    duration_ms = models.PositiveIntegerField()
    error = models.CharField(max_length=300, blank=True)
    # The beginning of the answer's body, for whoever looks for the mistake.
    excerpt = models.CharField(max_length=1000, blank=True)

    reads_from_primary: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"{self.status or self.error}"
