"""An event is recorded in the transaction of its change: both commit, or neither."""

from __future__ import annotations

import pytest
from django.db import transaction

from activity import outbox
from activity.context import Actor, RecordingContext, recording_as
from activity.errors import EventInvalid, NotInTransaction
from activity.models import OutboxEvent
from activity.personal import reveal
from tenants import context
from tenants.errors import NoTenant
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, ReportPublished, report


def test_an_event_is_a_row_with_who_did_it_and_from_where(tenant: TenantRef) -> None:
    around = RecordingContext(Actor("member", "7", "Ada"), request_id="r-1", ip="192.0.2.1", source="ui")
    with recording_as(around), transaction.atomic():
        outbox.record(report(3))
    row = OutboxEvent.objects.get()
    assert row.seq is None
    (document,) = reveal(tenant, [row.document])
    assert document == {
        "id": str(row.event_id),
        "at": document["at"],
        "action": "report.published",
        "actor": {"type": "member", "id": "7", "name": "Ada"},
        "target": {"type": "report", "id": "3", "name": "Report 3"},
        "source": "ui",
        "request_id": "r-1",
        "ip": "192.0.2.1",
        "data": {"pages": 3},
    }


def test_without_a_context_the_system_did_it(tenant: TenantRef) -> None:
    outbox.record(ReportPublished())
    document = OutboxEvent.objects.get().document
    assert (document["actor"]["type"], document["source"], document["target"]) == ("system", "system", None)


def test_a_change_that_is_rolled_back_leaves_no_event(tenant: TenantRef) -> None:
    with transaction.atomic():
        outbox.record(report(1))
        assert OutboxEvent.objects.count() == 1
        transaction.set_rollback(True)
    assert not OutboxEvent.objects.exists()


def test_recording_outside_a_transaction_is_refused(lasting_tenant: LastingTenant) -> None:
    with context.use_tenant(lasting_tenant()), pytest.raises(NotInTransaction):
        outbox.record(report(1))


def test_recording_without_a_tenant_is_refused() -> None:
    with pytest.raises(NoTenant):
        outbox.record(report(1))


def test_what_cannot_be_kept_is_refused_at_once(tenant: TenantRef) -> None:
    with pytest.raises(EventInvalid, match=r"data\.pages"):
        outbox.record(report(2**63))


def test_recording_is_one_statement(tenant: TenantRef, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(1):  # type: ignore[operator]
        outbox.record(report(1))
