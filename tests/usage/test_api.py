"""`/usage` and `/usage/days`."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from accounts.models import User
from activity import services
from activity.usage import measuring
from tenants import usage
from tenants.context import use_control, use_tenant
from tenants.models import UsageDay
from tenants.pages import encode_cursor
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf
from tests.activity.test_quotas import sent


@pytest.fixture
def asking(api: ApiOf, admin: User) -> Api:
    return api(admin)


def keep(ref: TenantRef, day: date, **numbers: Any) -> None:
    with use_control():
        UsageDay.objects.update_or_create(tenant_id=ref.id, day=day, defaults=numbers)


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {meter["name"]: meter for meter in document["meters"]}


def test_todays_numbers_with_the_limits(
    asking: Api, acme: TenantRef, globex: TenantRef, limit: Any, settings: Any
) -> None:
    settings.EVENTS_PER_DAY = {}
    limit(members=10, requests=4)
    keep(globex, usage.today(), members=99, storage_bytes=99)
    keep(acme, usage.today(), members=8, events=12, storage_bytes=8_000_000, requests=2, job_seconds=3.4)
    document = asking.get("/usage").json()
    assert (document["day"], document["plan"], document["measured_at"]) == (str(usage.today()), "free", None)
    found = by_name(document)
    assert list(found) == ["members", "events", "storage_bytes", "requests", "job_seconds"]
    assert found["members"] == {
        "name": "members", "title": "Members", "unit": "number", "is_daily": False,
        "used": 8, "limit": 10, "percent": 80, "state": "near",
    }  # fmt: skip
    assert found["requests"]["used"] == 3  # two, and this one, which isn't flushed
    assert (found["events"]["used"], found["events"]["limit"], found["events"]["percent"]) == (12, None, None)
    assert (found["job_seconds"]["used"], found["storage_bytes"]["used"]) == (3, 8_000_000)


def test_what_there_is_stays_known_over_midnight_and_what_is_daily_begins_anew(asking: Api, acme: TenantRef) -> None:
    keep(acme, usage.today() - timedelta(days=1), members=8, events=12, requests=5)
    found = by_name(asking.get("/usage").json())
    assert (found["members"]["used"], found["events"]["used"], found["requests"]["used"]) == (8, None, 1)


def test_events_that_were_sent_in_have_their_limit(asking: Api, acme: TenantRef, settings: Any) -> None:
    settings.EVENTS_PER_DAY = {"free": 4}
    with use_tenant(acme):
        services.events_ingest([sent(number) for number in range(4)])
    found = by_name(asking.get("/usage").json())["events_sent"]
    assert (found["used"], found["limit"], found["state"]) == (4, 4, "full")
    problem = asking.post("/activity", {"action": "invoice.paid"}).json()
    assert (problem["type"], problem["meter"], problem["plan"]) == ("plan-limit", "events_sent", "free")


def test_a_measurement_is_told_with_its_age(asking: Api, acme: TenantRef) -> None:
    with use_control():
        measuring.measure_due(30.0)
    document = asking.get("/usage").json()
    assert document["measured_at"].endswith("Z")
    assert by_name(document)["members"]["used"] == 1


def test_days_come_newest_first_in_pages(asking: Api, acme: TenantRef, globex: TenantRef) -> None:
    today = usage.today()
    for back in (0, 1, 2, 5, 29, 30, 399):
        keep(acme, today - timedelta(days=back), requests=back)
        keep(globex, today - timedelta(days=back), requests=1000)
    page = asking.get("/usage/days").json()
    assert [item["numbers"]["requests"] for item in page["items"]] == [0, 1, 2, 5, 29]
    assert page["next"] is None
    found, path = [], "/usage/days?limit=2"
    while path:
        page = asking.get(path).json()
        assert len(page["items"]) <= 2
        found += [item["numbers"]["requests"] for item in page["items"]]
        path = f"/usage/days?limit=2&cursor={page['next']}" if page["next"] else ""
    assert found == [0, 1, 2, 5, 29]
    a_range = f"/usage/days?from={today - timedelta(days=399)}&to={today - timedelta(days=34)}"
    assert [item["numbers"]["requests"] for item in asking.get(a_range).json()["items"]] == [399]


def test_more_than_a_year_at_once_a_range_backwards_and_a_bad_cursor_are_refused(asking: Api) -> None:
    today = usage.today()
    assert asking.get(f"/usage/days?from={today - timedelta(days=365)}").status_code == 200
    for path in (
        f"/usage/days?from={today - timedelta(days=366)}",
        f"/usage/days?from={today}&to={today - timedelta(days=1)}",
        "/usage/days?cursor=nonsense",
        "/usage/days?cursor=WyJub25zZW5zZSJd",
        "/usage/days?limit=501",
        "/usage/days?from=yesterday",
    ):
        answer = asking.get(path)
        assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json"), path


def test_it_is_for_owners_and_admins(api: ApiOf, owner: User, admin: User, member: User, viewer: User) -> None:
    for path in ("/usage", "/usage/days"):
        for user, status in ((owner, 200), (admin, 200), (member, 403), (viewer, 403)):
            assert api(user).get(path).status_code == status
        assert api(owner, scopes=["usage.read"]).get(path).status_code == 200
        assert api(owner, scopes=["read"]).get(path).status_code == 200
        assert api(owner, scopes=["members.read"]).get(path).status_code == 403


def test_days_before_all_days_are_no_mistake(asking: Api) -> None:
    assert asking.get("/usage/days?to=0001-01-05").json()["items"] == []
    first = encode_cursor("0001-01-01")
    assert asking.get(f"/usage/days?cursor={first}").status_code == 422
