from __future__ import annotations

import pytest

from accounts.models import User
from accounts.services.members import member_create
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf


def _emails(api: Api, query: str) -> list[str]:
    return [item["email"] for item in api.get(f"/members{query}").json()["items"]]


@pytest.fixture
def people(acme: TenantRef, viewer: User) -> list[str]:
    """The viewer, who asks, and 7 more."""
    with use_tenant(acme):
        made = [member_create(by=None, email=f"p{number}@acme.example", name=f"Person {number}") for number in range(7)]
    return [viewer.email, *(user.email for user in made)]


def test_a_member_looks_as_the_contract_says(api: ApiOf, viewer: User) -> None:
    item = api(viewer).get("/members").json()["items"][0]
    assert set(item) == {"id", "email", "name", "role", "is_active", "created_at", "last_login_at"}
    assert item["created_at"].endswith("Z")


def test_pages_hold_everybody_once(api: ApiOf, viewer: User, people: list[str]) -> None:
    asking, seen, query = api(viewer), [], "?limit=3"
    for _ in range(10):
        page = asking.get(f"/members{query}").json()
        seen += [item["email"] for item in page["items"]]
        if page["next"] is None:
            break
        query = f"?limit=3&cursor={page['next']}"
    assert seen == people


def test_a_page_is_not_moved_by_who_joins_or_leaves(
    api: ApiOf, viewer: User, people: list[str], acme: TenantRef
) -> None:
    asking = api(viewer)
    first = asking.get("/members?limit=4").json()
    with use_tenant(acme):
        User.objects.filter(email=people[1]).delete()
        member_create(by=None, email="late@acme.example")
    assert _emails(asking, f"?cursor={first['next']}") == [*people[4:], "late@acme.example"]


@pytest.mark.parametrize("query", ["?q=PERSON%203", "?q=p3@", "?q=P3%40ACME"])
def test_search_finds_by_name_and_address_without_case(api: ApiOf, viewer: User, people: list[str], query: str) -> None:
    assert _emails(api(viewer), query) == ["p3@acme.example"]


@pytest.mark.parametrize("query", ["?q=%25", "?q=_", "?q=nobody"])
def test_search_takes_no_wildcards(api: ApiOf, viewer: User, people: list[str], query: str) -> None:
    assert _emails(api(viewer), query) == []


def test_a_role_filters(api: ApiOf, viewer: User, people: list[str]) -> None:
    assert _emails(api(viewer), "?role=viewer") == [viewer.email]


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=501", "?limit=ten", "?role=king", "?cursor=nonsense", "?cursor=W10", "?q=" + "x" * 201],
)
def test_what_cannot_be_asked_is_422(api: ApiOf, viewer: User, query: str) -> None:
    answer = api(viewer).get(f"/members{query}")
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [query[1:].partition("=")[0]]


def test_a_stranger_gets_none_of_it(api: ApiOf, stranger: User, people: list[str], globex: TenantRef) -> None:
    foreign = api(stranger, globex)
    assert _emails(foreign, "") == [stranger.email]
    assert Api("acme.localhost", foreign.token).get("/members").status_code == 401
