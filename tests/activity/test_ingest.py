"""Events that are sent in: durable at once, each once by its id, with MongoDB up or away."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from activity import services
from activity.errors import EventInvalid
from activity.models import KnownEvent, OutboxEvent
from activity.services import Intake
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant


def sent(number: int, event_id: UUID | None = None, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"action": "commit.pushed", "data": {"number": number}, "id": event_id or UUID(int=number)}
    return event | changes


def numbers() -> list[int]:
    rows = OutboxEvent.objects.order_by("id").values_list("document", flat=True)
    return [document["data"]["number"] for document in rows]


def test_a_batch_keeps_its_order(tenant: TenantRef) -> None:
    order = [5, 3, 9, 1, 7]
    assert services.events_ingest([sent(number) for number in order]) == Intake(5, 0)
    assert numbers() == order


def test_the_first_of_an_id_counts(tenant: TenantRef) -> None:
    one, other = uuid4(), uuid4()
    batch = [sent(1, one), sent(2, other), sent(3, one)]
    assert services.events_ingest(batch) == Intake(2, 1)
    assert services.events_ingest([sent(4, other), sent(5)]) == Intake(1, 1)
    assert numbers() == [1, 2, 5]


def test_an_id_is_known_after_its_row_left_the_outbox(tenant: TenantRef) -> None:
    services.events_ingest([sent(1)])
    OutboxEvent.objects.all().delete()
    assert services.events_ingest([sent(1)]) == Intake(0, 1)


def test_an_id_is_forgotten_after_a_week(tenant: TenantRef) -> None:
    services.events_ingest([sent(1), sent(2)])
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE activity_knownevent SET recorded_at = now() - interval '8 days' WHERE event_id = %s", [UUID(int=1)]
        )
    assert services.known_events_prune() == 1
    assert [str(known) for known in KnownEvent.objects.all()] == [str(UUID(int=2))]


def test_one_bad_event_keeps_the_batch_out_and_is_named(tenant: TenantRef) -> None:
    with pytest.raises(EventInvalid) as caught:
        services.events_ingest([sent(1), sent(2, action="Nope"), sent(3, data={"x": [2**64]})])
    assert set(caught.value.errors) == {"events.1.action", "events.2.data.x.0"}
    assert not OutboxEvent.objects.exists()
    assert not KnownEvent.objects.exists()


def test_the_good_ones_are_kept_when_asked_for(tenant: TenantRef) -> None:
    batch = [sent(1), sent(2, action="Nope"), sent(1), sent(3, data={"x": [2**64]}), "no event", sent(4)]
    result = services.events_ingest(batch, keep_good=True)
    assert (result.accepted, result.duplicates, result.refused) == (2, 1, 3)
    assert set(result.errors) == {"events.1.action", "events.3.data.x.0", "events.4"}
    assert numbers() == [1, 4]


@pytest.mark.parametrize(
    "action",
    ["member.removed", "tenant.created", "token.x", "session.y", "job.z", "invitation.sent", "webhook.created"],
)
def test_events_of_tenantry_itself_cannot_be_sent_in(tenant: TenantRef, action: str) -> None:
    with pytest.raises(EventInvalid, match="Tenantry's own"):
        services.event_ingest(sent(1, action=action))


def as_text(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they come from JSON; such batches are written while they are read."""
    return [event | {"id": str(event["id"])} for event in events]


def test_what_is_written_at_once_is_what_was_sent(tenant: TenantRef) -> None:
    data = {"path": "C:\\new\\table", "lines": "a\nb\tc\r\\.", "quote": '"\\"', "é": "\u2028 \\N"}
    events = as_text([sent(1, data=data), sent(2, data={"deep": {"x": [data]}})])
    assert services.events_ingest(events) == Intake(2, 0)
    rows = OutboxEvent.objects.order_by("id").values_list("document", flat=True)
    assert [row["data"] for row in rows] == [data, {"deep": {"x": [data]}}]
    assert KnownEvent.objects.count() == 2


def test_a_batch_that_is_new_in_part_counts_as_any(tenant: TenantRef) -> None:
    assert services.events_ingest(as_text([sent(3), sent(1)])) == Intake(2, 0)
    assert services.events_ingest(as_text([sent(2), sent(1), sent(4)])) == Intake(2, 1)
    assert services.events_ingest(as_text([sent(5), sent(5)])) == Intake(1, 1)
    with pytest.raises(EventInvalid):
        services.events_ingest(as_text([sent(6), sent(7, action="Nope")]))
    assert numbers() == [3, 1, 2, 4, 5]
    assert KnownEvent.objects.count() == 5


def test_a_batch_is_one_statement(tenant: TenantRef, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):  # and the savepoint around it
        services.events_ingest([sent(number) for number in range(1000)])


@pytest.mark.parametrize("text", [True, False])
def test_senders_of_the_same_ids_at_once_record_each_once(lasting_tenant: LastingTenant, text: bool) -> None:
    ref = lasting_tenant()
    batch = [sent(number) for number in range(300)]
    if text:
        batch = as_text(batch)
    answers: list[Intake] = []

    def send(events: list[dict[str, Any]]) -> None:
        with context.use_tenant(ref):
            answers.append(services.events_ingest(events))

    threads = [threading.Thread(target=send, args=[events]) for events in (batch, batch[::-1], batch, batch[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer.accepted for answer in answers) == 300
    assert sum(answer.duplicates for answer in answers) == 900
    with context.use_tenant(ref):
        assert sorted(numbers()) == list(range(300))
