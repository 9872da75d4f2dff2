"""The page of usage; what operators see; the archive's part."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from activity.usage.admin import MOST_ROWS
from activity.usage.jobs import usage_part
from tenants import metrics, usage
from tenants.context import use_control, use_tenant
from tenants.models import UsageDay
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.usage.test_api import keep


def text_of(answer: Any) -> str:
    """What a reader sees: the text without its tags."""
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_a_new_organisation_is_told_what_to_expect(owner: User, signed_in: SignedIn) -> None:
    text = text_of(signed_in(owner).get("/usage"))
    assert "its plan (free) has no limits" in text
    assert "Nothing was measured yet" in text
    assert "No days yet" in text
    assert "not measured yet" in text


def test_numbers_limits_charts_and_the_table(acme: TenantRef, owner: User, signed_in: SignedIn, limit: Any) -> None:
    limit(members=10, storage_bytes=100 * 1024 * 1024, job_seconds=3600, requests=100_000)
    for back in range(30):
        keep(
            acme, usage.today() - timedelta(days=back),
            members=9, events=10 * back, storage_bytes=50 * 1024 * 1024, requests=1234, job_seconds=3725.2,
        )  # fmt: skip
    answer = signed_in(owner).get("/usage")
    html, text = answer.content.decode(), text_of(answer)
    assert "9 of 10 (90 %)" in text
    assert "of 100.0 MB (50 %)" in text.replace("\xa0", " ")
    assert "1 h 2 min of 1 h (103 %)" in text
    assert "Members: 90 % used" in text
    assert "Time of jobs: all of it is used" in text
    assert "No job is started until midnight UTC" in text
    assert html.count('<svg class="usage-chart"') == 5
    assert html.count("<rect") == 5 * 30 * 2
    assert html.count('role="img"') == 5
    assert html.count("<tr>") == 31
    assert "290" in text
    assert not re.search(r"\sstyle=|<style|<script(?![^>]*\bsrc=)|\son[a-z]+=", html)


def test_bars_are_as_high_as_their_numbers(acme: TenantRef, owner: User, signed_in: SignedIn) -> None:
    today = usage.today()
    keep(acme, today, events=100)
    keep(acme, today - timedelta(days=1), events=25)
    keep(acme, today - timedelta(days=2), events=0)
    html = signed_in(owner).get("/usage").content.decode()
    chart = next(part for part in html.split("<svg") if "Events by day" in part)
    heights = re.findall(r'y="[\d.]+" width="7" height="([\d.]+)"', chart)[1::2]
    assert heights[-3:] == ["0", "12", "48"]


def test_it_is_in_the_navigation_of_those_who_may_see_it(owner: User, member: User, signed_in: SignedIn) -> None:
    assert 'href="/usage"' in signed_in(owner).get("/jobs").content.decode()
    assert 'href="/usage"' not in signed_in(member).get("/jobs").content.decode()
    assert signed_in(member).get("/usage").status_code == 403


def test_the_page_costs_few_statements(acme: TenantRef, owner: User, signed_in: SignedIn) -> None:
    client = signed_in(owner)
    assert client.get("/usage").status_code == 200
    with CaptureQueriesContext(connections["control"]) as captured:
        assert client.get("/usage").status_code == 200
    assert sum("usageday" in query["sql"] for query in captured) == 2


# --- Operators -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def operators(operator: User) -> Client:
    client = Client(HTTP_HOST="localhost")
    with use_control():
        client.force_login(operator)
    return client


PAGE = "/admin/tenants/usageday/"


def test_operators_see_each_day_of_each_tenant_and_search_by_address(
    operators: Client, acme: TenantRef, globex: TenantRef
) -> None:
    keep(acme, usage.today(), members=41, requests=4242, storage_bytes=5 * 1024 * 1024)
    keep(globex, usage.today(), members=51, requests=5151)
    text = text_of(operators.get(PAGE))
    assert "4242" in text
    assert "5151" in text
    assert "5.0 MB" in text
    text = text_of(operators.get(f"{PAGE}?q=glob"))
    assert "5151" in text
    assert "4242" not in text


def test_nobody_changes_them_by_hand(operators: Client, acme: TenantRef) -> None:
    keep(acme, usage.today(), members=41)
    with use_control():
        row = UsageDay.objects.get(tenant_id=acme.id)
    assert operators.get(f"{PAGE}add/").status_code == 403
    assert operators.post(f"{PAGE}{row.pk}/change/", {"members": 1}).status_code == 403
    assert operators.post(f"{PAGE}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_list_counts_to_a_bound_alone(operators: Client, acme: TenantRef) -> None:
    keep(acme, usage.today(), members=41)
    with CaptureQueriesContext(connections["control"]) as captured:
        assert operators.get(PAGE).status_code == 200
    counts = [query["sql"] for query in captured if "COUNT(*)" in query["sql"] and "usageday" in query["sql"]]
    assert counts
    assert all(f"LIMIT {MOST_ROWS}" in text for text in counts)


def test_metrics_tell_of_refusals_and_of_tenants_that_are_late(
    api: ApiOf, owner: User, acme: TenantRef, limit: Any
) -> None:
    limit(members=1)
    assert api(owner).post("/members", {"email": "ann@example.com"}).status_code == 403
    with use_control():
        text = metrics.exposition().decode()
    assert 'tenantry_plan_limit_refusals_total{meter="members",plan="free"}' in text
    assert "tenantry_usage_late_tenants " in text


# --- The archive -----------------------------------------------------------------------------------------------------------


def test_the_archive_has_the_days_of_its_tenant_alone(acme: TenantRef, globex: TenantRef) -> None:
    keep(acme, usage.today(), members=41)
    keep(acme, usage.today() - timedelta(days=300), requests=7)
    keep(globex, usage.today(), members=51)
    with use_tenant(acme):
        (entry,) = usage_part()
        rows = [orjson.loads(line) for line in b"".join(entry.blocks).splitlines()]
    assert entry.name == "days.ndjson"
    assert [(row["members"], row["requests"]) for row in rows] == [(None, 7), (41, 0)]
