"""A worker that is killed while it sends: the message comes again, under the id by which the receiver knows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from django.db.models.functions import Now

from activity.webhooks.models import Delivery, Webhook
from tenants import context
from tests.activity.conftest import LastingTenant
from tests.webhooks.conftest import deliver, make_webhook, pages, record
from tests.webhooks.receiver import Hold, Receiver

TURNS = 2


def killed_while_sending(lasting_tenant: LastingTenant, receiver: Receiver, *options: str) -> list[str]:
    """Kill TURNS workers when the receiver has the message and hasn't answered; then deliver. The ids that came."""
    ref = lasting_tenant()
    with context.use_tenant(ref):
        make_webhook(receiver, actions=["report."])
        record(ref, range(130))
        for _ in range(TURNS):
            hold = Hold()
            receiver.script = [hold]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.webhooks.deliver_process", ref.id, *options],
                env=os.environ | {"WEBHOOK_ALLOWED_HOSTS": "127.0.0.1", "DJANGO_SETTINGS_MODULE": "config.settings"},
            )
            try:
                assert hold.came.wait(40), "nothing was sent"
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
                hold.let_go.set()
            Webhook.objects.update(claimed_until=Now())  # as if the claim's time had passed
        deliver(ref)
        assert Webhook.objects.get().claimed_until is None
        assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    return [request.id for request in receiver.requests]


def test_the_message_comes_again_with_its_id(lasting_tenant: LastingTenant, receiver: Receiver) -> None:
    ids = killed_while_sending(lasting_tenant, receiver)
    assert ids == [ids[0]] * (TURNS + 1) + [ids[-1]]
    assert len({request.body for request in receiver.requests if request.id == ids[0]}) == 1
    assert pages(receiver) == list(range(130))


def test_a_message_that_is_kept_only_when_it_was_sent_has_another_id_each_time(
    lasting_tenant: LastingTenant, receiver: Receiver
) -> None:
    """The control."""
    ids = killed_while_sending(lasting_tenant, receiver, "careless")
    assert len(set(ids)) == TURNS + 2
    assert pages(receiver) != list(range(130))


@pytest.mark.parametrize("late", [True, False])
def test_who_lost_the_claim_changes_nothing(lasting_tenant: LastingTenant, receiver: Receiver, late: bool) -> None:
    """A worker that was stopped in mid-delivery, and wakes up when another one has done the work; the control is one in time."""
    import threading

    ref = lasting_tenant()
    hold = Hold()
    receiver.script = [hold]
    with context.use_tenant(ref):
        make_webhook(receiver, actions=["report."])
        record(ref, range(3))

    def work() -> None:
        with context.use_tenant(ref):
            deliver(ref)

    stopped = threading.Thread(target=work)
    stopped.start()
    assert hold.came.wait(20)
    with context.use_tenant(ref):
        if late:
            Webhook.objects.update(claimed_until=Now())
            deliver(ref)
            record(ref, range(3, 6))
        hold.let_go.set()
        stopped.join()
        delivery = Delivery.objects.order_by("id").first()
        assert delivery is not None
        assert delivery.attempts.count() == delivery.attempts_made == 1
        deliver(ref)
    assert pages(receiver) == list(range(6 if late else 3))
