"""Requests are counted without a round trip, whoever they are of, and control has each of them once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from accounts.models import User
from tenants import usage
from tenants.context import use_control, use_tenant
from tenants.models import Tenant, UsageDay
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.accounts.test_request_cost import statements
from tests.usage.conftest import day_of


def test_requests_of_tokens_and_of_people_are_counted(
    api: ApiOf, acme: TenantRef, owner: User, signed_in: SignedIn
) -> None:
    asking = api(owner)
    for _ in range(3):
        assert asking.get("/me").status_code == 200
    assert signed_in(owner).get("/jobs").status_code == 200
    assert usage.known_today(acme).requests == 4
    assert usage.flush()
    row = day_of(acme)
    assert row is not None
    assert row.requests == 4


def test_a_session_that_uses_the_api_is_counted_once_a_request(
    acme: TenantRef, owner: User, signed_in: SignedIn
) -> None:
    assert signed_in(owner).get("/api/v1/me").status_code == 200
    assert usage.known_today(acme).requests == 1


def test_strangers_use_up_nothing(acme: TenantRef, anonymous: Client) -> None:
    assert Api("acme.localhost", "tnt_nobody").get("/members").status_code == 401
    assert Api("acme.localhost").get("/members").status_code == 401
    assert anonymous.get("/login").status_code == 200
    assert anonymous.get("/jobs").status_code == 302
    assert usage.known_today(acme).requests == 0


def test_counting_asks_no_server(api: ApiOf, acme: TenantRef, owner: User, limit: Any) -> None:
    """Neither where there is no limit, nor where there is one."""
    asking = api(owner)
    assert asking.get("/members").status_code == 200
    texts = []
    for limits in ({}, {"requests": 1_000_000, "members": 1_000_000}):
        limit(**limits)
        with use_control():
            before = UsageDay.objects.count()
        with statements(acme) as seen:
            assert asking.get("/members").status_code == 200
        texts.append([query["sql"].partition("WHERE")[0] for query in seen])
        with use_control():
            assert UsageDay.objects.count() == before
    assert texts[0] == texts[1]
    assert len(texts[0]) == 2


def test_of_several_flushes_the_numbers_add_up(acme: TenantRef, globex: TenantRef) -> None:
    for number in (1, 2, 3):
        usage.count(acme, requests=number, job_seconds=0.5)
        usage.count(globex, requests=1)
        assert usage.flush()
    row, other = day_of(acme), day_of(globex)
    assert row is not None
    assert other is not None
    assert (row.requests, row.job_seconds, other.requests) == (6, 1.5, 3)


def lose_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control has taken the next batch, and nobody hears of it."""
    send = usage._send

    def send_and_lose(batch: Any, number: int) -> Any:
        monkeypatch.setattr(usage, "_send", send)
        send(batch, number)
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(usage, "_send", send_and_lose)


def test_a_batch_whose_answer_was_lost_counts_once(acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_one_answer(monkeypatch)
    usage.count(acme, requests=5)
    assert not usage.flush()
    usage.count(acme, requests=2)
    assert usage.known_today(acme).requests == 7
    assert usage.flush()
    row = day_of(acme)
    assert row is not None
    assert row.requests == usage.known_today(acme).requests == 7


def test_without_the_batches_numbers_it_counts_twice(acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: each sending has a number of its own."""
    lose_one_answer(monkeypatch)
    usage.count(acme, requests=5)
    assert not usage.flush()
    usage._process.number += 1
    assert usage.flush()
    row = day_of(acme)
    assert row is not None
    assert row.requests == 10


def test_the_day_of_a_count_is_when_it_happened(acme: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    today = usage.today()
    usage.count(acme, requests=1)
    monkeypatch.setattr(usage, "today", lambda: today + timedelta(days=1))
    usage.count(acme, requests=2)
    assert usage.known_today(acme).requests == 2
    assert usage.flush()
    with use_control():
        found = dict(UsageDay.objects.filter(tenant_id=acme.id).values_list("day", "requests"))
    assert found == {today: 1, today + timedelta(days=1): 2}


def test_what_was_counted_of_a_tenant_that_is_gone_holds_nobody_up(acme: TenantRef, globex: TenantRef) -> None:
    usage.count(acme, requests=1)
    usage.count(globex, requests=1)
    with use_control():
        Tenant.objects.filter(pk=globex.id).delete()
    assert usage.flush()
    assert day_of(acme) is not None
    assert day_of(globex) is None


def test_in_control_nothing_is_counted(acme: TenantRef) -> None:
    with use_control():
        usage.take_request()
    assert usage.flush()
    assert not usage._process.totals
    with use_tenant(acme):
        usage.take_request()
    assert usage.known_today(acme).requests == 1
