from __future__ import annotations

from uuid import uuid4

import pytest

from accounts.models import User
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf


def test_a_member_is_read_by_id(api: ApiOf, viewer: User, member: User) -> None:
    assert api(viewer).get(f"/members/{member.id}").json()["email"] == member.email


def test_a_foreign_id_answers_like_one_that_never_was(api: ApiOf, owner: User, stranger: User) -> None:
    asking = api(owner)
    for method in ("get", "delete"):
        bodies = []
        for wanted in (stranger.id, uuid4()):
            answer = asking.request(method, f"/members/{wanted}")
            assert answer.status_code == 404
            bodies.append({key: value for key, value in answer.json().items() if key != "request_id"})
        assert bodies[0] == bodies[1]


def test_several_fields_change_at_once(api: ApiOf, admin: User, member: User) -> None:
    answer = api(admin).patch(f"/members/{member.id}", {"name": "Mia M.", "role": "viewer", "is_active": False})
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["name"], changed["role"], changed["is_active"]) == ("Mia M.", "viewer", False)


def test_one_refused_field_keeps_the_others_as_they_were(
    api: ApiOf, admin: User, member: User, acme: TenantRef
) -> None:
    assert api(admin).patch(f"/members/{member.id}", {"name": "Other", "role": "owner"}).status_code == 403
    with use_tenant(acme):
        assert User.objects.get(pk=member.pk).name == "Mia"


@pytest.mark.parametrize("body", [{"role": None}, {"role": "king"}, {"is_active": "maybe"}, {"email": "new@x.example"}])
def test_what_cannot_be_changed_is_422(api: ApiOf, owner: User, member: User, body: dict[str, object]) -> None:
    assert api(owner).patch(f"/members/{member.id}", body).status_code == 422


def test_an_admin_cannot_touch_owners(api: ApiOf, admin: User, owner: User) -> None:
    asking = api(admin)
    assert asking.patch(f"/members/{owner.id}", {"name": "x"}).status_code == 403
    assert asking.patch(f"/members/{owner.id}", {"role": "member"}).status_code == 403
    assert asking.patch(f"/members/{owner.id}", {"is_active": False}).status_code == 403
    assert asking.delete(f"/members/{owner.id}").status_code == 403


def test_the_last_owner_stays(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    assert asking.patch(f"/members/{owner.id}", {"role": "admin"}).status_code == 409
    assert asking.patch(f"/members/{owner.id}", {"is_active": False}).status_code == 409
    assert asking.delete(f"/members/{owner.id}").status_code == 409


def test_an_owner_hands_over_and_leaves(api: ApiOf, owner: User, admin: User) -> None:
    asking = api(owner)
    assert asking.patch(f"/members/{admin.id}", {"role": "owner"}).status_code == 200
    assert asking.delete(f"/members/{owner.id}").status_code == 204
    assert asking.get("/me").status_code == 401
