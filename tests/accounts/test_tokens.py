from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import ApiToken, User
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf


def test_a_token_is_shown_once_and_kept_as_a_hash(api: ApiOf, member: User, acme: TenantRef) -> None:
    asking = api(member)
    made = asking.post("/tokens", {"name": "CI"}).json()
    assert made["token"].startswith(made["prefix"])
    listed = asking.get("/tokens").json()["items"]
    assert [item["name"] for item in listed] == ["test", "CI"]
    assert "token" not in listed[1]
    with use_tenant(acme):
        kept = ApiToken.objects.values().get(name="CI")
    assert made["token"] not in str(kept)
    assert Api("acme.localhost", made["token"]).get("/me").status_code == 200


def test_a_revoked_one_is_refused(api: ApiOf, member: User) -> None:
    asking = api(member)
    made = asking.post("/tokens", {"name": "CI"}).json()
    assert asking.delete(f"/tokens/{made['id']}").status_code == 204
    assert Api("acme.localhost", made["token"]).get("/me").status_code == 401
    assert asking.delete(f"/tokens/{made['id']}").status_code == 404


def test_an_expired_one_is_refused(api: ApiOf, member: User, acme: TenantRef) -> None:
    asking = api(member, expires_at=timezone.now() + timedelta(hours=1))
    assert asking.get("/me").status_code == 200
    with use_tenant(acme):
        ApiToken.objects.update(expires_at=timezone.now())
    assert asking.get("/me").status_code == 401


def test_anothers_token_is_not_there(api: ApiOf, member: User, owner: User) -> None:
    theirs = api(member).post("/tokens", {"name": "CI"}).json()
    asking = api(owner)
    assert asking.delete(f"/tokens/{theirs['id']}").status_code == 404
    assert [item["name"] for item in asking.get("/tokens").json()["items"]] == ["test"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["everything"]}, "scopes"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "expires_at": "soon"}, "expires_at"),
    ],
)
def test_invalid_input_is_told_by_field(api: ApiOf, member: User, body: dict[str, object], field: str) -> None:
    answer = api(member).post("/tokens", body)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [field]


def test_scopes_narrow_what_the_role_allows(api: ApiOf, owner: User) -> None:
    reading = api(owner, scopes=["read"])
    assert reading.get("/members").status_code == 200
    assert reading.post("/members", {"email": "x@x.example"}).status_code == 403
    one = api(owner, scopes=["members.write"])
    assert one.get("/members").status_code == 403
    assert one.post("/members", {"email": "x@x.example"}).status_code == 201


def test_a_role_narrows_what_the_scopes_name(api: ApiOf, viewer: User) -> None:
    assert api(viewer, scopes=["*"]).post("/members", {"email": "x@x.example"}).status_code == 403


def test_a_token_makes_no_mightier_one(api: ApiOf, owner: User) -> None:
    asking = api(owner, scopes=["tokens.write", "members.read"])
    assert asking.post("/tokens", {"name": "x"}).status_code == 422
    assert asking.post("/tokens", {"name": "x", "scopes": ["members.read"]}).status_code == 201


def test_use_is_noted_at_most_once_a_minute(api: ApiOf, member: User, acme: TenantRef) -> None:
    asking = api(member)
    asking.get("/me")
    with use_tenant(acme):
        first = ApiToken.objects.get().last_used_at
        assert first is not None
    asking.get("/me")
    with use_tenant(acme):
        assert ApiToken.objects.get().last_used_at == first
        ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    asking.get("/me")
    with use_tenant(acme):
        assert ApiToken.objects.get().last_used_at == first  # the transaction's own time, within the rollback


def test_noting_it_is_no_write_of_the_reader(api: ApiOf, member: User) -> None:
    assert "X-Read-After" not in api(member).get("/me")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer nonsense", "Bearer \ud83d\ude00"]
)
def test_a_header_that_is_no_token_is_refused(acme: TenantRef, header: str) -> None:
    assert Api("acme.localhost").get("/me", Authorization=header).status_code == 401
