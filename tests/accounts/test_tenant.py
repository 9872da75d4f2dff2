from __future__ import annotations

import pytest

from accounts.models import User
from tenants.models import Tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf


def test_every_member_sees_the_organisation(api: ApiOf, viewer: User, acme: TenantRef) -> None:
    answer = api(viewer).get("/tenant")
    assert answer.json() == {
        "id": acme.id, "slug": "acme", "name": "Acme", "plan": "free", "state": "active", "time_zone": "UTC",
    }  # fmt: skip


def test_an_admin_renames_it(api: ApiOf, admin: User, acme: TenantRef) -> None:
    answer = api(admin).patch("/tenant", {"name": " Acme Ltd "})
    assert answer.status_code == 200
    assert answer.json()["name"] == "Acme Ltd"
    assert Tenant.objects.get(pk=acme.id).name == "Acme Ltd"


def test_an_admin_sets_its_time_zone(api: ApiOf, admin: User, acme: TenantRef) -> None:
    answer = api(admin).patch("/tenant", {"time_zone": "Europe/Berlin"})
    assert (answer.status_code, answer.json()["name"], answer.json()["time_zone"]) == (200, "Acme", "Europe/Berlin")
    assert Tenant.objects.get(pk=acme.id).time_zone == "Europe/Berlin"
    assert api(admin).patch("/tenant", {}).json() == answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 201},
        {"name": None},
        {"name": "a\x00b"},
        {"slug": "other"},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": None},
    ],
)
def test_what_it_cannot_be_is_told_by_field(api: ApiOf, owner: User, body: dict[str, object]) -> None:
    answer = api(owner).patch("/tenant", body)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == list(body)


def test_a_member_may_not(api: ApiOf, member: User) -> None:
    assert api(member).patch("/tenant", {"name": "Mine"}).status_code == 403
