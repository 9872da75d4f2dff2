"""What is older than the tenant keeps leaves the log; what stays is proven, found at once, and numbered as before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from activity import log, mongo, segments, selectors
from activity.errors import RetentionInvalid
from activity.models import LogCheckpoint, LogHead, OutboxEvent
from activity.retention import kept_days, log_prune, retention_change
from activity.search import Query
from activity.verify import verify
from tenants.refs import TenantRef
from tests.activity.conftest import logged
from tests.activity.test_segments import relayed


@pytest.fixture
def aged(tenant: TenantRef, monkeypatch: pytest.MonkeyPatch, settings: Any) -> TenantRef:
    """Four checkpoints of five events each; the first two are 100 days old, and the plan keeps 90."""
    settings.ACTIVITY_RETENTION = {"free": 90}
    monkeypatch.setattr(segments, "SPAN", 5)
    for first in range(0, 20, 5):
        relayed(tenant, *range(first, first + 5))
    LogCheckpoint.objects.filter(last__lte=10).update(at=Now() - timedelta(days=100))
    return tenant


def test_whole_checkpoints_leave_and_their_digest_stays(aged: TenantRef) -> None:
    assert log_prune(aged) == 10
    assert [document["seq"] for document in logged(aged)] == list(range(11, 21))
    assert list(LogCheckpoint.objects.order_by("last").values_list("last", flat=True)) == [5, 10, 15, 20]
    assert {len(bytes(point.signature)) for point in LogCheckpoint.objects.all()} == {64}
    outcome = verify(aged)
    assert (outcome.valid, outcome.checked) == (True, 10)
    assert log_prune(aged) == 0


def test_what_is_left_is_still_held_against_what_was_signed(aged: TenantRef) -> None:
    log_prune(aged)
    mongo.events().delete_one({"tenant": aged.id, "seq": 11})
    bad = verify(aged).first_bad
    assert bad is not None
    assert (bad.seq, bad.reason) == (11, "deleted")


def test_without_the_head_saying_so_it_would_be_a_deletion(aged: TenantRef) -> None:
    """The control."""
    log_prune(aged)
    LogHead.objects.update(first=1)
    bad = verify(aged).first_bad
    assert bad is not None
    assert (bad.seq, bad.reason) == (1, "deleted")


def test_pages_begin_at_the_first_event_that_is_kept(aged: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    log_prune(aged)
    asked: list[Any] = []
    question = log.Question
    monkeypatch.setattr(log, "Question", lambda *args: asked.append(args) or question(*args))
    for order, expected in (("oldest", list(range(11, 21))), ("newest", list(range(20, 10, -1)))):
        page = selectors.event_page(aged, Query(order=order))  # type: ignore[arg-type]
        assert [event["seq"] for event in page.items] == expected
        assert page.next is None
    assert len(asked) == 2
    assert selectors.events_total(aged) == 10


def test_a_long_range_that_has_left_is_passed_over(tenant: TenantRef) -> None:
    relayed(tenant, *range(3))
    LogHead.objects.update(first=5_000_000, appended=5_000_002)
    mongo.events().delete_many({"tenant": tenant.id, "seq": {"$lt": 3}})
    mongo.events().update_many({"tenant": tenant.id}, {"$set": {"seq": 5_000_001}})
    page = selectors.event_page(tenant, Query(order="oldest", action="report."))
    assert [event["seq"] for event in page.items] == [5_000_001]


def test_a_removal_that_was_interrupted_is_finished(aged: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(log, "remove_before", lambda ref, first: 0)
        log_prune(aged)
    assert len(logged(aged)) == 20
    assert verify(aged).checked == 10
    assert log_prune(aged) == 10
    assert len(logged(aged)) == 10


def test_new_events_go_on_when_all_have_left(aged: TenantRef) -> None:
    LogCheckpoint.objects.update(at=Now() - timedelta(days=100), opened_at=Now() - timedelta(days=100))
    assert log_prune(aged) == 20
    assert (verify(aged).valid, verify(aged).checked) == (True, 0)
    assert selectors.event_page(aged, Query()).items == []
    relayed(aged, 20)
    assert [event["seq"] for event in selectors.event_page(aged, Query()).items] == [21]
    assert (verify(aged).valid, verify(aged).checked) == (True, 1)


def test_for_ever_means_that_nothing_leaves(aged: TenantRef, settings: Any) -> None:
    settings.ACTIVITY_RETENTION = {"free": None}
    assert kept_days(aged) is None
    assert log_prune(aged) == 0


def test_a_tenant_may_keep_less_than_its_plan_does_and_not_more(aged: TenantRef) -> None:
    assert kept_days(aged) == 90
    for days in (0, 91, -1):
        with pytest.raises(RetentionInvalid):
            retention_change(aged, days=days)
    retention_change(aged, days=30)
    assert kept_days(aged) == 30
    recorded = OutboxEvent.objects.values_list("document", flat=True).last()
    assert recorded["action"] == "activity.retention_changed"
    assert recorded["data"] == {"former": None, "days": 30}
    retention_change(aged, days=None)
    assert kept_days(aged) == 90
