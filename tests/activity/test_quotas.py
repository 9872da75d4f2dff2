"""A plan's events of a day: counted exactly, and beyond them nothing is kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from accounts.models import User
from activity import outbox, quotas, services
from activity.errors import QuotaExceeded
from activity.models import IngestDay, KnownEvent, OutboxEvent
from config import env
from tenants import context
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf, api, fresh_limits, owner, quick_passwords  # noqa: F401  fixtures
from tests.activity.conftest import LastingTenant, report
from tests.activity.test_api import EVENT, batch
from tests.activity.test_ingest import sent
from tests.at_once import at_once


@pytest.fixture(autouse=True)
def ten_a_day(settings: Any) -> None:
    settings.EVENTS_PER_DAY = {"free": 10}


def kept() -> int:
    return OutboxEvent.objects.filter(document__source="api").count()


def test_the_last_one_fits_and_the_next_does_not(tenant: TenantRef) -> None:
    services.events_ingest([sent(number) for number in range(10)])
    with pytest.raises(QuotaExceeded) as refused:
        services.event_ingest(sent(10))
    assert 0 < refused.value.retry_after <= 24 * 3600
    assert kept() == KnownEvent.objects.count() == IngestDay.objects.get().accepted == 10


def test_a_batch_that_does_not_fit_as_a_whole_is_not_kept(tenant: TenantRef) -> None:
    services.events_ingest([sent(number) for number in range(8)])
    with pytest.raises(QuotaExceeded):
        services.events_ingest([sent(number) for number in range(8, 11)])
    assert kept() == 8
    services.events_ingest([sent(number) for number in range(8, 10)])
    assert kept() == 10


def test_a_repeat_costs_nothing(tenant: TenantRef) -> None:
    events = [sent(number) for number in range(10)]
    services.events_ingest(events)
    assert services.events_ingest(events) == services.Intake(0, 10)
    assert IngestDay.objects.get().accepted == 10


def test_tenantrys_own_events_are_recorded_all_the_same(tenant: TenantRef) -> None:
    services.events_ingest([sent(number) for number in range(10)])
    with transaction.atomic():
        outbox.record(report(1))
    assert IngestDay.objects.get().accepted == 10


def test_another_plan_has_no_limit(tenant: TenantRef, settings: Any) -> None:
    settings.EVENTS_PER_DAY = {"business": 1}
    services.events_ingest([sent(number) for number in range(20)])
    assert kept() == 20


def test_the_api_says_what_to_do(api: ApiOf, owner: User) -> None:  # noqa: F811
    client = api(owner)
    assert client.post("/activity/batch", batch(10)).status_code == 200
    for path, body in (("/activity", EVENT), ("/activity/batch?on_error=keep", batch(11))):
        answer = client.post(path, body)
        problem = orjson.loads(answer.content)
        assert (answer.status_code, answer["Content-Type"]) == (429, "application/problem+json")
        assert int(answer["Retry-After"]) > 0
        assert "10 events a day" in problem["detail"]
        assert "midnight UTC" in problem["detail"]
    assert orjson.loads(client.post("/activity/batch", batch(10)).content) == {"accepted": 0, "duplicates": 10}


def send_at_once(lasting_tenant: LastingTenant, senders: int) -> int:
    """As many senders at once, of one event each; how many were kept."""
    ref = lasting_tenant()
    outcomes = at_once(ref, *[partial(services.events_ingest, [sent(number)]) for number in range(senders)])
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert all(isinstance(failure, QuotaExceeded) for failure in failures), failures
    with context.use_tenant(ref):
        return kept()


def test_of_many_at_once_exactly_the_quota_is_kept(lasting_tenant: LastingTenant) -> None:
    assert send_at_once(lasting_tenant, 16) == 10


def test_without_the_exact_count_more_are_kept(lasting_tenant: LastingTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the early look alone."""
    monkeypatch.setattr(quotas, "take", lambda limit, fresh: None)
    assert send_at_once(lasting_tenant, 16) == 16


def test_the_setting_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NUMBERS", "free=10, team=2000")
    assert env.plan_numbers("SOME_NUMBERS", "") == {"free": 10, "team": 2000}
    assert env.plan_numbers("OTHER_NUMBERS", "") == {}
    for bad in ("free", "free=x", "free=-1", "=5"):
        monkeypatch.setenv("SOME_NUMBERS", bad)
        with pytest.raises(ImproperlyConfigured):
            env.plan_numbers("SOME_NUMBERS", "")
