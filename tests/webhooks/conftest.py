"""A receiver, and webhooks of acme that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now

from activity import outbox
from activity.relay import relay
from activity.webhooks import delivery, services
from activity.webhooks.models import Delivery, Webhook
from tenants.refs import TenantRef
from tests.activity.conftest import empty_where_there_is_a_cast, lasting_tenant, report  # noqa: F401  fixtures
from tests.webhooks.receiver import Receiver


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver on loopback, which the operator allows."""
    settings.WEBHOOK_ALLOWED_HOSTS = ["127.0.0.1"]
    with Receiver() as receiver:
        yield receiver


def record(ref: TenantRef, numbers: range) -> None:
    """Events of these numbers, in the log."""
    with transaction.atomic():
        for number in numbers:
            outbox.record(report(number))
    relay(ref)


def deliver(ref: TenantRef) -> bool:
    """What the task does."""
    return delivery.deliver_due(ref, may_go_on=lambda: True)


def make_due() -> None:
    """As if the time until the next attempt had passed."""
    Delivery.objects.filter(state=Delivery.State.WAITING).update(next_at=Now())


def make_webhook(receiver: Receiver, **facts: Any) -> tuple[Webhook, str]:
    return services.webhook_create(**{"name": "SIEM", "url": receiver.url, **facts})


def pages(receiver: Receiver) -> list[int]:
    """The numbers of the reports that came; events of other kinds don't count."""
    return [event["data"]["pages"] for event in receiver.events() if event["action"] == "report.published"]
