"""`GET /activity/stats`: the counts of the log for a chart."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from accounts.models import User
from activity import rollups, services, stats
from activity.models import Rollup, RollupHead
from activity.relay import relay
from activity.search import Query
from tenants import context
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    Api,
    ApiOf,
    api,
    fresh_limits,
    member,
    owner,
    quick_passwords,
    stranger,
    viewer,
)
from tests.activity.conftest import logged
from tests.activity.test_api import body, relay_all
from tests.activity.test_rollups import ingest, some

NOW = datetime.now(UTC)
TODAY = f"{NOW:%Y-%m-%d}"


@pytest.fixture
def client(api: ApiOf, owner: User) -> Api:  # noqa: F811
    return api(owner)


def asked(client: Api, query: str = "") -> Any:
    answer = client.get(f"/activity/stats?{query}")
    assert answer.status_code == 200, answer.content
    return body(answer)


def day(back: int) -> str:
    return f"{NOW - timedelta(days=back):%Y-%m-%d}"


def by_hand(ref: TenantRef, form: str, *, since: datetime) -> Counter[tuple[str, str]]:
    found = [document for document in logged(ref) if document["at"] >= since]
    return Counter((document["at"].strftime(form), document["action"]) for document in found)


def told(answer: Any, form: str) -> Counter[tuple[str, str]]:
    """The counts of an answer by bucket and action."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in answer["actions"]:
        for bucket, count in zip(answer["buckets"], line["counts"], strict=True):
            counts[datetime.fromisoformat(bucket).strftime(form), line["action"]] += count
    return +counts


def test_an_empty_log_has_empty_buckets(client: Api) -> None:
    answer = asked(client)
    assert answer["by"] == "day"
    assert answer["buckets"] == [f"{day(back)}T00:00:00Z" for back in range(13, -1, -1)]
    assert answer["is_complete"] is True
    assert len(asked(client, "by=hour")["buckets"]) == 48


@pytest.mark.parametrize(
    ("by", "form", "days"), [("day", "%Y-%m-%d", 60), ("hour", "%Y-%m-%d %H", 20)], ids=["days", "hours"]
)
def test_counts_are_those_of_the_log(acme: TenantRef, client: Api, by: str, form: str, days: int) -> None:
    with context.use_tenant(acme):
        ingest(some(400))
        relay(acme)
        since = datetime.fromisoformat(f"{day(days)}T00:00:00+00:00")
        answer = asked(client, f"by={by}&from={day(days)}")
        assert told(answer, form) == by_hand(acme, form, since=since)
        assert answer["total"] == sum(by_hand(acme, form, since=since).values())
        assert [line["total"] for line in answer["actions"]] == [sum(line["counts"]) for line in answer["actions"]]


def test_an_action_or_a_prefix(acme: TenantRef, client: Api) -> None:
    with context.use_tenant(acme):
        ingest(some(200, since=timedelta(days=10)))
        relay(acme)
    commits = asked(client, "action=commit.")
    assert {line["action"] for line in commits["actions"]} == {"commit.pushed", "commit.reverted"}
    assert commits["actors"] is None
    exact = asked(client, "action=commit.pushed")
    assert exact["total"] == next(line["total"] for line in commits["actions"] if line["action"] == "commit.pushed")
    assert asked(client, "action=commit.p")["total"] == 0
    assert asked(client, "action=%25.")["total"] == 0


def test_rare_actions_are_told_together(acme: TenantRef, client: Api) -> None:
    events = [
        {"id": UUID(int=9000 + number), "action": f"thing.of_{number}", "data": {}, "at": NOW} for number in range(20)
    ]
    with context.use_tenant(acme):
        services.events_ingest(events)
        relay(acme)
    answer = asked(client, "action=thing.")
    assert [line["action"] for line in answer["actions"]][-1] is None
    assert len(answer["actions"]) == stats.TOP_ACTIONS + 1
    assert answer["total"] == 20 == sum(line["total"] for line in answer["actions"])


def test_actors_with_the_names_that_members_have_now(
    acme: TenantRef, client: Api, owner: User, member: User  # noqa: F811
) -> None:  # fmt: skip
    gone = "0190a000-0000-7000-8000-00000000000b"
    people = [("member", str(member.pk), 3), ("member", gone, 2), ("member", "not-a-uuid", 2), ("user", "a:b", 4)]
    events = [
        {"id": UUID(int=8000 + 10 * index + number), "action": "thing.done", "data": {},
         "at": NOW, "actor": {"type": kind, "id": actor_id, "name": "As it was then"}}
        for index, (kind, actor_id, count) in enumerate(people) for number in range(count)
    ]  # fmt: skip
    with context.use_tenant(acme):
        services.events_ingest(events)
        relay(acme)
        member.name = "Mia the Second"
        member.save()
    actors = {(each["type"], each["id"]): (each["name"], each["total"]) for each in asked(client)["actors"]}
    assert actors["member", str(member.pk)] == ("Mia the Second", 3)
    assert actors["member", gone] == ("", 2)
    assert actors["member", "not-a-uuid"] == ("", 2)
    assert actors["user", "a:b"] == ("", 4)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("by=week", "by"),
        ("from=yesterday", "from"),
        ("to=2024-02-10T12:00:00", "to"),
        ("from=0001-01-01T00:00:00%2B02:00", "from"),
        (f"from={TODAY}&to=2020-01-01", "from"),
        (f"from=2020-01-01&to={TODAY}", "from"),
        (f"by=hour&from={day(32)}", "from"),
        ("by=hour&from=2024-01-01&to=2024-01-02", "from"),
        (f"action={'x' * 101}", "action"),
    ],
)
def test_questions_that_make_no_sense_are_refused(client: Api, query: str, field: str) -> None:
    answer = client.get(f"/activity/stats?{query}")
    assert answer.status_code == 422
    assert list(body(answer)["errors"]) == [field]


@pytest.mark.parametrize("query", ["to=0001-01-01", "from=9999-12-31&to=9999-12-31", "to=9999-12-31T23:59:59Z"])
def test_the_ends_of_time(client: Api, query: str) -> None:
    assert asked(client, query)["buckets"]


def test_it_says_when_older_events_are_not_counted_yet(acme: TenantRef, client: Api) -> None:
    with context.use_tenant(acme):
        ingest(some(20, since=timedelta(days=10)))
        relay(acme)
        Rollup.objects.all().delete()
        RollupHead.objects.all().delete()
        assert asked(client)["is_complete"] is False
        rollups.catch_up(acme)
        answer = asked(client)
    assert answer["is_complete"] is True
    assert sum(line["total"] for line in answer["actions"] if line["action"].startswith(("commit.", "release."))) == 20


def test_rights(acme: TenantRef, globex: TenantRef, api: ApiOf, owner: User, viewer: User, stranger: User) -> None:  # noqa: F811
    with context.use_tenant(acme):
        ingest(some(20, since=timedelta(days=10)))
    relay_all(acme)
    assert asked(api(viewer), "action=commit.")["total"] > 0
    assert api(owner, scopes=["members.read"]).get("/activity/stats").status_code == 403
    assert Api("acme.localhost").get("/activity/stats").status_code == 401
    assert asked(api(stranger, globex), "action=commit.")["total"] == 0


@pytest.mark.parametrize(
    ("query", "by", "buckets"),
    [
        (Query(), "day", 14),
        (Query(action="member."), "day", 14),
        (Query(start=NOW - timedelta(days=40), end=NOW - timedelta(days=39)), "day", 2),
        (Query(start=datetime(2001, 1, 1, tzinfo=UTC)), "day", 366),
        (Query(end=datetime(1, 1, 2, tzinfo=UTC)), "hour", 0),
        (Query(start=datetime(9999, 12, 31, 20, tzinfo=UTC)), "hour", 4),
    ],
    ids=["all", "prefix", "days", "too many days", "before all", "after all"],
)
def test_the_chart_of_a_page_fits_its_filter(tenant: TenantRef, query: Query, by: str, buckets: int) -> None:
    found = stats.stats_of_query(query)
    assert found is not None
    if buckets:
        assert (found.by, len(found.buckets)) == (by, buckets)


def test_the_chart_of_some_hours_has_them(tenant: TenantRef) -> None:
    found = stats.stats_of_query(Query(start=datetime.now(UTC) - timedelta(hours=5)))
    assert found is not None
    assert found.by == "hour"
    assert len(found.buckets) in {6, 7}  # another one has begun meanwhile


@pytest.mark.parametrize("filters", [{"actor": "a:b"}, {"target": "a:b"}, {"source": "ui"}, {"q": "x"}], ids=str)
def test_what_is_not_counted_has_no_chart(tenant: TenantRef, filters: dict[str, str]) -> None:
    assert stats.stats_of_query(Query(**filters)) is None
