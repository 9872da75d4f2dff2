"""What is in the log arrives: all of it, in its order, signed, again until it is taken."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from activity import mongo, sweep
from activity import services as ingest
from activity import tasks as relay_tasks
from activity.models import OutboxEvent
from activity.relay import relay
from activity.webhooks import delivery, messages, schedule, selectors, services, tasks
from activity.webhooks.models import Attempt, Delivery, Webhook
from tenants import context
from tenants.models import WebhookSchedule
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant
from tests.activity.test_mongo_away import Away, away  # noqa: F401  a fixture
from tests.webhooks.conftest import deliver, make_due, make_webhook, pages, record
from tests.webhooks.receiver import Hold, Receiver, answer, drip, drop


def recorded(action: str) -> list[dict[str, Any]]:
    found = OutboxEvent.objects.filter(document__action=action).order_by("id")
    return list(found.values_list("document", flat=True))


def scheduled(ref: TenantRef) -> float | None:
    """In how many seconds the sweeper looks after the tenant; None: it doesn't."""
    with context.use_control():
        row = WebhookSchedule.objects.filter(pk=ref.id).first()
        return None if row is None else (row.due_at - timezone.now()).total_seconds()


def test_events_come_in_their_order_in_messages_of_a_hundred(tenant: TenantRef, receiver: Receiver) -> None:
    record(tenant, range(5))  # before there was a webhook
    _webhook, secret = make_webhook(receiver, actions=["report."])
    record(tenant, range(5, 255))
    deliver(tenant)
    assert [len(request.events) for request in receiver.requests] == [100, 100, 50]
    assert pages(receiver) == list(range(5, 255))
    assert all(request.is_signed_by(secret) for request in receiver.requests)
    numbers = [event["seq"] for event in receiver.events()]
    assert numbers == sorted(numbers)
    assert Webhook.objects.get().cursor == numbers[-1]
    assert scheduled(tenant) is None


def test_a_message_is_one_of_standard_webhooks(tenant: TenantRef, receiver: Receiver) -> None:
    import json

    make_webhook(receiver, actions=["report."])
    record(tenant, range(1))
    deliver(tenant)
    (request,) = receiver.requests
    assert str(Delivery.objects.get().pk) == request.id
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    body = json.loads(request.body)
    assert (body["type"], set(body)) == ("activity.events", {"type", "timestamp", "data"})
    assert body["data"]["tenant"] == {"id": tenant.id, "slug": "acme"}
    (event,) = body["data"]["events"]
    assert set(event) == {"id", "seq", "at", "action", "actor", "target", "source", "request_id", "ip", "data"}


def test_a_signature_is_of_this_secret_and_this_body(tenant: TenantRef, receiver: Receiver) -> None:
    from dataclasses import replace

    _, secret = make_webhook(receiver)
    record(tenant, range(1))
    deliver(tenant)
    request = receiver.requests[0]
    assert request.is_signed_by(secret)
    # The controls: forged in any part, it isn't.
    assert not replace(request, body=request.body + b" ").is_signed_by(secret)
    for header in ("webhook-id", "webhook-timestamp"):
        forged = request.headers | {header: request.headers[header][:-1] + "0" + "1"}
        assert not replace(request, headers=forged).is_signed_by(secret)
    assert not request.is_signed_by("whsec_" + "A" * 44)


@pytest.mark.parametrize(
    ("actions", "passed"),
    [
        ([], ["a.b", "a.bc", "ab.c", "x.y"]),
        (["a."], ["a.b", "a.bc"]),
        (["a.b"], ["a.b"]),
        (["x.", "ab.c"], ["ab.c", "x.y"]),
    ],
)
def test_actions_choose(actions: list[str], passed: list[str]) -> None:
    assert [action for action in ("a.b", "a.bc", "ab.c", "x.y") if messages.wants(actions, action)] == passed


def test_what_the_actions_leave_out_is_passed_over(
    tenant: TenantRef, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "MAX_SPAN", 100)
    monkeypatch.setattr(messages, "PORTION", 40)
    make_webhook(receiver, actions=["release."])
    ingest.events_ingest([{"action": "commit.pushed"} for _ in range(350)])
    ingest.events_ingest([{"action": "release.made"}])
    relay(tenant)
    deliver(tenant)
    (request,) = receiver.requests
    assert [event["action"] for event in request.events] == ["release.made"]
    assert selectors.waiting(Webhook.objects.get()) == 0


def test_a_message_has_a_bounded_size(tenant: TenantRef, receiver: Receiver) -> None:
    make_webhook(receiver, actions=["file."])
    text = "x" * 16_000
    ingest.events_ingest([{"action": "file.kept", "data": {"a": text, "b": text, "n": n}} for n in range(80)])
    relay(tenant)
    deliver(tenant)
    assert len(receiver.requests) > 1
    assert max(len(request.body) for request in receiver.requests) < messages.MAX_BYTES + 10_000
    assert [event["data"]["n"] for event in receiver.events()] == list(range(80))


def test_whatever_goes_wrong_all_arrives_in_the_end_and_in_order(
    tenant: TenantRef, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activity.webhooks.outgoing.TOTAL_TIMEOUT", 0.5)
    make_webhook(receiver, actions=["report."])
    record(tenant, range(150))
    receiver.script = [answer(500, b"broken"), drop, drip(2), answer(302, Location="http://127.0.0.1:1/")]
    for _ in range(4):
        assert deliver(tenant) is False
        make_due()
    receiver.stop()
    deliver(tenant)
    make_due()
    record(tenant, range(150, 160))
    receiver.start()
    receiver.script = [answer(200), answer(500)]
    deliver(tenant)
    make_due()
    deliver(tenant)
    assert pages(receiver) == list(range(160))
    ids = [request.id for request in receiver.requests]
    assert ids[:5] == [ids[0]] * 5
    assert len({request.body for request in receiver.requests if request.id == ids[0]}) == 1
    first = Delivery.objects.get(pk=ids[0])
    assert list(first.attempts.order_by("id").values_list("status", flat=True)) == [500, None, None, 302, None, 200]
    assert next(attempt.excerpt for attempt in first.attempts.order_by("id")) == "broken"
    assert Webhook.objects.get().failing_since is None


def test_what_is_not_taken_waits_and_nothing_overtakes_it(tenant: TenantRef, receiver: Receiver) -> None:
    make_webhook(receiver, actions=["report."])
    record(tenant, range(2))
    receiver.otherwise = answer(500)
    deliver(tenant)
    record(tenant, range(2, 4))
    deliver(tenant)
    assert len(receiver.requests) == 1
    waits = scheduled(tenant)
    assert waits is not None
    assert 3 < waits < 7
    assert not selectors.has_news()


def test_a_webhook_that_fails_keeps_no_other_from_its_events(tenant: TenantRef, receiver: Receiver) -> None:
    with Receiver() as other:
        make_webhook(receiver, actions=["report."])
        make_webhook(other, actions=["report."])
        receiver.otherwise = answer(500)
        record(tenant, range(3))
        deliver(tenant)
        record(tenant, range(3, 6))
        deliver(tenant)
        assert pages(other) == list(range(6))
        assert len(receiver.requests) == 1


def test_the_time_between_attempts_doubles_up_to_hours_and_differs() -> None:
    delays = [delivery.delay_after(attempts) for attempts in range(1, 30)]
    for attempt, delay in enumerate(delays):
        middle = min(5 * 2**attempt, 6 * 3600)
        assert 0.8 * middle <= delay <= 1.2 * middle
    assert len({delivery.delay_after(1) for _ in range(20)}) > 10
    assert delivery.delay_after(1, 600) == 600


def test_after_three_days_it_is_switched_off_and_goes_on_when_it_is_switched_on(
    tenant: TenantRef, receiver: Receiver
) -> None:
    make_webhook(receiver, actions=["report."])
    record(tenant, range(3))
    receiver.otherwise = answer(500)
    deliver(tenant)
    Webhook.objects.update(failing_since=timezone.now() - delivery.GIVE_UP_AFTER)
    make_due()
    deliver(tenant)
    webhook = Webhook.objects.get()
    assert (webhook.is_active, "3 days" in webhook.disabled_reason) == (False, True)
    (event,) = recorded("webhook.disabled")
    assert (event["actor"]["type"], event["data"]["reason"]) == ("system", webhook.disabled_reason)
    assert scheduled(tenant) is None
    record(tenant, range(3, 5))
    deliver(tenant)
    assert len(receiver.requests) == 2
    receiver.otherwise = answer(200)
    services.webhook_update(webhook=webhook, is_active=True)
    deliver(tenant)
    assert pages(receiver) == list(range(5))
    assert Webhook.objects.get().disabled_reason == ""


def test_two_days_are_not_enough(tenant: TenantRef, receiver: Receiver) -> None:
    """The control of the test above."""
    make_webhook(receiver)
    record(tenant, range(1))
    receiver.otherwise = answer(500)
    deliver(tenant)
    Webhook.objects.update(failing_since=timezone.now() - delivery.GIVE_UP_AFTER / 2)
    make_due()
    deliver(tenant)
    assert Webhook.objects.get().is_active


def test_gone_means_gone(tenant: TenantRef, receiver: Receiver) -> None:
    make_webhook(receiver)
    record(tenant, range(1))
    receiver.otherwise = answer(410)
    deliver(tenant)
    assert "410" in Webhook.objects.get().disabled_reason


def test_a_test_message_goes_out_once_even_when_it_is_switched_off(tenant: TenantRef, receiver: Receiver) -> None:
    import json

    webhook, secret = make_webhook(receiver)
    services.webhook_update(webhook=webhook, is_active=False)
    record(tenant, range(3))
    receiver.script = [answer(500)]
    for state in ("failed", "delivered"):
        test = services.webhook_test(webhook=webhook)
        deliver(tenant)
        deliver(tenant)
        assert Delivery.objects.get(pk=test.pk).state == state
    assert [json.loads(request.body)["type"] for request in receiver.requests] == ["webhook.test"] * 2
    assert all(request.is_signed_by(secret) for request in receiver.requests)
    assert Webhook.objects.get().failing_since is None


def test_a_delivery_is_sent_again_by_hand_as_the_same_message(tenant: TenantRef, receiver: Receiver) -> None:
    make_webhook(receiver, actions=["report."])
    record(tenant, range(3))
    deliver(tenant)
    record(tenant, range(3, 5))
    deliver(tenant)
    first, second = receiver.requests
    cursor = Webhook.objects.get().cursor
    receiver.script = [answer(500)]
    for state in ("failed", "delivered"):
        services.delivery_resend(delivery=Delivery.objects.get(pk=first.id))
        deliver(tenant)
        assert Delivery.objects.get(pk=first.id).state == state
    assert [(request.id, request.body) for request in receiver.requests[2:]] == [(first.id, first.body)] * 2
    assert Webhook.objects.get().cursor == cursor
    assert second.id != first.id


def test_one_that_waits_is_sent_at_once_when_somebody_asks(tenant: TenantRef, receiver: Receiver) -> None:
    make_webhook(receiver)
    record(tenant, range(1))
    receiver.script = [answer(500)]
    deliver(tenant)
    deliver(tenant)
    assert len(receiver.requests) == 1
    services.delivery_resend(delivery=Delivery.objects.get())
    deliver(tenant)
    assert [request.id for request in receiver.requests] == [str(Delivery.objects.get().pk)] * 2


def test_for_a_day_both_secrets_are_good(tenant: TenantRef, receiver: Receiver) -> None:
    webhook, former = make_webhook(receiver)
    webhook, new = services.webhook_rotate(webhook=webhook)
    record(tenant, range(1))
    deliver(tenant)
    assert [receiver.requests[0].is_signed_by(secret) for secret in (former, new)] == [True, True]
    assert receiver.requests[0].headers["webhook-signature"].count("v1,") == 2
    Webhook.objects.update(former_secret_until=timezone.now())
    record(tenant, range(1))
    deliver(tenant)
    assert [receiver.requests[-1].is_signed_by(secret) for secret in (former, new)] == [False, True]


def test_a_secret_is_bound_to_its_webhook_and_tenant(tenant: TenantRef, globex: TenantRef, receiver: Receiver) -> None:
    from tenants.crypto import DecryptionFailed

    webhook, secret = make_webhook(receiver)
    other, _ = make_webhook(receiver)
    assert secret.encode() not in bytes(webhook.encrypted_secret)
    assert webhook.decrypt(webhook.encrypted_secret) == secret
    with pytest.raises(DecryptionFailed):
        other.decrypt(webhook.encrypted_secret)


def test_what_has_left_the_log_is_passed_over(tenant: TenantRef, receiver: Receiver) -> None:
    make_webhook(receiver, actions=["report."])
    record(tenant, range(50))
    receiver.script = [answer(500)]
    deliver(tenant)
    (waiting,) = Delivery.objects.all()
    gone = {"tenant": tenant.id, "seq": {"$lte": waiting.last_seq}}
    mongo.events().delete_many(gone)
    record(tenant, range(50, 60))
    make_due()
    deliver(tenant)
    assert Delivery.objects.get(pk=waiting.pk).state == "failed"
    assert [event["data"]["pages"] for event in receiver.requests[-1].events] == list(range(50, 60))


def test_while_the_log_is_away_nothing_counts_as_an_attempt(
    away: Away, tenant: TenantRef, receiver: Receiver  # noqa: F811
) -> None:  # fmt: skip
    away.come_back()
    make_webhook(receiver)
    record(tenant, range(1))
    away.go()
    deliver(tenant)
    assert not Attempt.objects.exists()
    waits = scheduled(tenant)
    assert waits is not None
    assert 5 < waits <= 10
    away.come_back()
    deliver(tenant)
    assert len(receiver.requests) == 1


def test_the_relay_tells_of_what_is_new(tenant: TenantRef, receiver: Receiver) -> None:
    make_webhook(receiver)
    deliver(tenant)
    relay_tasks.relay.run()
    deliver(tenant)
    record(tenant, range(0))
    relay_tasks.relay.run()
    assert scheduled(tenant) is None
    ingest.events_ingest([{"action": "commit.pushed"}])
    relay_tasks.relay.run()
    assert scheduled(tenant) is not None


def test_a_relay_that_could_not_tell_is_asked_again(
    lasting_tenant: LastingTenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = lasting_tenant()

    def fails(*_: Any, **__: Any) -> None:
        raise DatabaseError("control is away")

    with context.use_tenant(ref):
        make_webhook(receiver)
        with monkeypatch.context() as broken:
            broken.setattr(schedule, "mark", fails)
            with pytest.raises(DatabaseError):
                relay_tasks.relay.run()
    with context.use_control():
        assert ref.id in {found.id for found in sweep.unclean()}
    with context.use_tenant(ref):
        relay_tasks.relay.run()
    assert scheduled(ref) is not None


def test_the_sweep_finds_who_is_due(tenant: TenantRef, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    hinted: list[str] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: hinted.append(options["headers"]["tenant"]))
    webhook, _ = make_webhook(receiver)
    services.webhook_test(webhook=webhook)
    with context.use_control():
        tasks.sweep.run()
        tasks.sweep.run()  # it was hinted at just now
    assert hinted == [tenant.id]


def test_two_workers_send_a_message_once(lasting_tenant: LastingTenant, receiver: Receiver) -> None:
    ref = lasting_tenant()
    hold = Hold()
    receiver.script = [hold]
    with context.use_tenant(ref):
        make_webhook(receiver, actions=["report."])
        record(ref, range(120))

    def work() -> None:
        with context.use_tenant(ref):
            deliver(ref)

    first = threading.Thread(target=work)
    first.start()
    assert hold.came.wait(20)
    with context.use_tenant(ref):
        assert deliver(ref) is False
        assert len(receiver.requests) == 1
        hold.let_go.set()
        first.join()
        assert pages(receiver) == list(range(120))
        assert len(receiver.requests) == 2


def test_without_the_claim_both_send_it(
    lasting_tenant: LastingTenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a claim that is no claim."""
    everybody = delivery._CLAIM.replace("claimed_until < clock_timestamp()", "true")
    monkeypatch.setattr(delivery, "_CLAIM", everybody)
    monkeypatch.setattr(selectors, "due", lambda: list(Webhook.objects.values_list("pk", flat=True)))
    ref = lasting_tenant()
    hold = Hold()
    receiver.script = [hold]
    with context.use_tenant(ref):
        make_webhook(receiver, actions=["report."])
        record(ref, range(3))

    def work() -> None:
        with context.use_tenant(ref):
            deliver(ref)

    first = threading.Thread(target=work)
    first.start()
    assert hold.came.wait(20)
    with context.use_tenant(ref):
        deliver(ref)
        hold.let_go.set()
        first.join()
    assert len(receiver.requests) == 2


def test_old_deliveries_are_thrown_away(tenant: TenantRef, receiver: Receiver) -> None:
    webhook, _ = make_webhook(receiver)
    for _ in range(3):
        services.webhook_test(webhook=webhook)
    deliver(tenant)
    first, second = itertools.islice(Delivery.objects.order_by("id"), 2)
    Delivery.objects.filter(pk__in=[first.pk, second.pk]).update(ended_at=timezone.now() - services.KEPT_FOR)
    Delivery.objects.filter(pk=second.pk).update(state="waiting", is_once=True)
    assert services.deliveries_prune() == 1
    assert Delivery.objects.count() == 2


def test_more_than_a_batch_of_them_goes_in_a_day(
    tenant: TenantRef, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "PRUNED_AT_ONCE", 2)
    webhook, _ = make_webhook(receiver)
    for _ in range(5):
        services.webhook_test(webhook=webhook)
    deliver(tenant)
    Delivery.objects.update(ended_at=timezone.now() - services.KEPT_FOR)
    assert tasks.prune.run() == 5
    assert not Delivery.objects.exists()
