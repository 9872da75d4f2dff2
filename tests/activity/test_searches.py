"""`/activity/searches`: filters under a name, one's own or shared, within limits and for those who may."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from accounts.models import User
from accounts.services.members import member_remove
from activity import searches
from activity.errors import SearchInvalid
from activity.models import SavedSearch
from tenants import context
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    Api,
    ApiOf,
    admin,
    api,
    fresh_limits,
    member,
    owner,
    quick_passwords,
    stranger,
    viewer,
)
from tests.activity.conftest import LastingTenant
from tests.activity.test_api import body

SEARCH: dict[str, Any] = {
    "name": "Failed sign-ins",
    "query": {"action": "session.sign_in_failed", "from": "2026-01-31", "order": "oldest"},
}


def names(client: Api) -> list[str]:
    return [item["name"] for item in body(client.get("/activity/searches"))["items"]]


def test_a_search_is_saved_listed_and_deleted(api: ApiOf, viewer: User) -> None:  # noqa: F811
    client = api(viewer)
    answer = client.post("/activity/searches", SEARCH)
    assert answer.status_code == 201
    saved = body(answer)
    assert {key: saved[key] for key in ("name", "query", "is_shared", "is_own")} == SEARCH | {
        "is_shared": False, "is_own": True,
    }  # fmt: skip
    assert body(client.get("/activity/searches")) == {"items": [saved], "next": None}
    assert client.delete(f"/activity/searches/{saved['id']}").status_code == 204
    assert client.delete(f"/activity/searches/{saved['id']}").status_code == 404
    assert names(client) == []


def test_a_name_is_an_owners_once(api: ApiOf, owner: User, viewer: User) -> None:  # noqa: F811
    client = api(viewer)
    assert client.post("/activity/searches", SEARCH).status_code == 201
    answer = client.post("/activity/searches", SEARCH | {"name": "  failed   SIGN-ins "})
    assert (answer.status_code, list(body(answer)["errors"])) == (422, ["name"])
    assert api(owner).post("/activity/searches", SEARCH).status_code == 201


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"query": {}}, "query"),
        ({"query": {"order": "oldest"}}, "query"),
        ({"query": {"colour": "red"}}, "query.colour"),
        ({"query": {"from": "yesterday"}}, "query.from"),
        ({"query": {"source": "mars"}}, "query.source"),
        ({"query": {"actor": "ada"}}, "query.actor"),
        ({"extra": 1}, "extra"),
    ],
)
def test_what_makes_no_sense_is_refused(api: ApiOf, viewer: User, changes: dict[str, Any], field: str) -> None:  # noqa: F811
    answer = api(viewer).post("/activity/searches", SEARCH | changes)
    assert (answer.status_code, list(body(answer)["errors"])) == (422, [field])


def test_shared_ones_are_everybodys_to_use_and_an_admins_to_delete(
    api: ApiOf, owner: User, admin: User, viewer: User  # noqa: F811
) -> None:  # fmt: skip
    assert api(viewer).post("/activity/searches", SEARCH | {"is_shared": True}).status_code == 403
    shared = body(api(owner).post("/activity/searches", SEARCH | {"is_shared": True}))
    api(owner).post("/activity/searches", SEARCH | {"name": "Mine"})
    (seen,) = body(api(viewer).get("/activity/searches"))["items"]
    assert (seen["name"], seen["is_shared"], seen["is_own"]) == (SEARCH["name"], True, False)
    assert api(viewer).delete(f"/activity/searches/{shared['id']}").status_code == 403
    assert api(admin).delete(f"/activity/searches/{shared['id']}").status_code == 204
    assert names(api(owner)) == ["Mine"]


def test_what_is_others_is_not_found(api: ApiOf, owner: User, admin: User) -> None:  # noqa: F811
    own = body(api(owner).post("/activity/searches", SEARCH))
    assert api(admin).delete(f"/activity/searches/{own['id']}").status_code == 404
    assert names(api(owner)) == [SEARCH["name"]]


def test_scopes(api: ApiOf, owner: User) -> None:  # noqa: F811
    reader = api(owner, scopes=["read"])
    assert reader.get("/activity/searches").status_code == 200
    assert reader.post("/activity/searches", SEARCH).status_code == 403
    assert Api("acme.localhost").get("/activity/searches").status_code == 401


def test_another_tenant_sees_nothing_of_it(
    globex: TenantRef, api: ApiOf, owner: User, stranger: User  # noqa: F811
) -> None:  # fmt: skip
    saved = body(api(owner).post("/activity/searches", SEARCH | {"is_shared": True}))
    theirs = api(stranger, globex)
    assert names(theirs) == []
    assert theirs.delete(f"/activity/searches/{saved['id']}").status_code == 404


def test_pages(acme: TenantRef, api: ApiOf, viewer: User) -> None:  # noqa: F811
    with context.use_tenant(acme):
        for number in range(5):
            searches.search_save(owner=viewer, name=f"Search {number}", query={"q": "x"})
    client, seen, cursor = api(viewer), [], ""
    while cursor is not None:
        page = body(client.get(f"/activity/searches?limit=2&cursor={cursor}"))
        seen += [item["name"] for item in page["items"]]
        cursor = page["next"]
    assert seen == [f"Search {number}" for number in range(5)]


def test_they_go_with_their_owner(acme: TenantRef, owner: User, viewer: User) -> None:  # noqa: F811
    with context.use_tenant(acme):
        searches.search_save(owner=viewer, name="Mine", query={"q": "x"})
        member_remove(member=viewer, by=owner)
        assert not SavedSearch.objects.exists()


def test_the_limit_holds_for_saves_at_once(lasting_tenant: LastingTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "MOST", 3)
    ref = lasting_tenant()
    with context.use_tenant(ref):
        user = User.objects.create(email="ada@example.com")
    refused = []

    def save(number: int) -> None:
        with context.use_tenant(ref):
            try:
                searches.search_save(owner=user, name=f"Search {number}", query={"q": "x"})
            except SearchInvalid as refusal:
                refused.append(refusal.message)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with context.use_tenant(ref):
        assert SavedSearch.objects.count() == 3
    assert len(refused) == 3
