from __future__ import annotations

import pytest

from accounts.models import User
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf


def test_an_admin_adds_a_member(api: ApiOf, admin: User, acme: TenantRef) -> None:
    answer = api(admin).post("/members", {"email": "Grace@Example.com", "name": " Grace Hopper "})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["email"], made["name"], made["role"], made["is_active"]) == (
        "Grace@Example.com",
        "Grace Hopper",
        "member",
        True,
    )
    assert made["id"][14] == "7"
    with use_tenant(acme):
        assert not User.objects.get(pk=made["id"]).has_usable_password()


def test_an_address_is_taken_in_any_case(api: ApiOf, admin: User, member: User) -> None:
    answer = api(admin).post("/members", {"email": member.email.upper()})
    assert answer.status_code == 409
    assert list(answer.json()["errors"]) == ["email"]


def test_the_same_address_is_free_elsewhere(api: ApiOf, stranger: User, member: User, globex: TenantRef) -> None:
    assert api(stranger, globex).post("/members", {"email": member.email}).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "not an address"}, "email"),
        ({"email": "a" * 250 + "@x.example"}, "email"),
        ({"email": "a\x00@x.example"}, "email"),
        ({"email": 7}, "email"),
        ({"email": "a@x.example", "role": "king"}, "role"),
        ({"email": "a@x.example", "name": "x" * 201}, "name"),
        ({"email": "a@x.example", "name": "a\x00"}, "name"),
        ({"email": "a@x.example", "is_staff": True}, "is_staff"),
        ({"email": "a@x.example", "password": "let me in please"}, "password"),
    ],
)
def test_invalid_input_is_told_by_field(api: ApiOf, owner: User, body: dict[str, object], field: str) -> None:
    answer = api(owner).post("/members", body)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [field]


@pytest.mark.parametrize("body", ["{", "[1]", "null", '{"email": NaN}', "\ud83d", '"\\ud800"'])
def test_what_is_not_an_object_is_refused(api: ApiOf, owner: User, body: str) -> None:
    sent = body.encode("utf-8", "surrogatepass")
    assert api(owner).post("/members", sent).status_code in (400, 422)


def test_an_admin_makes_no_owner(api: ApiOf, admin: User) -> None:
    assert api(admin).post("/members", {"email": "o@x.example", "role": "owner"}).status_code == 403


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_others_may_not(api: ApiOf, role: str, request: pytest.FixtureRequest) -> None:
    asking = api(request.getfixturevalue(role))
    assert asking.post("/members", {"email": "x@x.example"}).status_code == 403
