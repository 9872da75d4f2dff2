"""The operators' API. Tenants made here are real ones and are removed by the API itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import User
from accounts.services.tokens import token_create
from activity.models import OutboxEvent
from tenants.context import use_control
from tenants.lifecycle.offboard import delete_tenant
from tenants.models import Tenant
from tests.accounts.conftest import PASSWORD, Api, remove_operator

NEW = {"slug": "hooli", "name": "Hooli", "owner_email": "gavin@hooli.example", "owner_password": PASSWORD}


@pytest.fixture
def fresh_limits() -> None:
    """Not needed here, and its tenants would be in a transaction."""


@pytest.fixture
def control(django_db_setup: None, django_db_blocker: Any) -> Iterator[Api]:
    """The operators' API as an operator, with commits; all that was made is removed."""
    with django_db_blocker.unblock(), use_control():
        remove_operator("root@example.com")
        operator = User.objects.create_superuser("root@example.com", PASSWORD)
        yield Api("localhost", token_create(user=operator, name="test")[1], "/control/api/v1")
        remove_operator("root@example.com")
        for tenant in Tenant.objects.filter(slug="hooli"):
            delete_tenant(tenant.ref())


def test_a_tenants_whole_life(control: Api) -> None:
    made = control.post("/tenants", NEW)
    assert made.status_code == 201
    body = made.json()
    assert set(body) == {
        "id",
        "slug",
        "name",
        "plan",
        "state",
        "time_zone",
        "server",
        "created_at",
        "schema_version",
        "token",
    }
    owner = Api("hooli.localhost", body["token"])
    assert owner.get("/me").json()["email"] == "gavin@hooli.example"

    changed = control.patch("/tenants/hooli", {"name": "Hooli XYZ", "plan": "business"})
    assert (changed.json()["name"], changed.json()["plan"]) == ("Hooli XYZ", "business")
    assert owner.get("/tenant").json()["plan"] == "business"

    assert control.post("/tenants/hooli/suspend").json()["state"] == "suspended"
    assert owner.get("/me").status_code == 403
    assert control.post("/tenants/hooli/suspend").status_code == 200
    assert control.post("/tenants/hooli/resume").json()["state"] == "active"
    assert owner.get("/me").status_code == 200

    assert control.delete("/tenants/hooli").status_code == 204
    assert control.get("/tenants/hooli").status_code == 404
    assert owner.get("/me").status_code == 404


def test_each_step_is_in_the_operators_log(control: Api) -> None:
    last = OutboxEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    control.post("/tenants", NEW)
    control.patch("/tenants/hooli", {"name": "Hooli XYZ"})
    control.post("/tenants/hooli/suspend")
    control.post("/tenants/hooli/resume")
    documents = list(OutboxEvent.objects.filter(id__gt=last).order_by("id").values_list("document", flat=True))
    assert [document["action"] for document in documents] == [
        "tenant.created",
        "tenant.updated",
        "tenant.suspended",
        "tenant.resumed",
    ]
    assert {document["actor"]["type"] for document in documents} == {"operator"}


def test_a_repeat_with_the_same_key_makes_one(control: Api) -> None:
    first = control.post("/tenants", NEW, Idempotency_Key="k1")
    again = control.post("/tenants", NEW, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()


def test_a_taken_slug_is_a_conflict(control: Api) -> None:
    assert control.post("/tenants", NEW, Idempotency_Key="k2").status_code == 201
    refused = control.post("/tenants", NEW, Idempotency_Key="k3")
    assert refused.status_code == 409
    assert list(refused.json()["errors"]) == ["slug"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"owner_password": "short"}, "owner_password"),
        ({"slug": "www"}, "slug"),
        ({"owner_email": "x"}, "owner_email"),
        ({"more": 1}, "more"),
    ],
)
def test_invalid_input_is_told_by_field(control: Api, changed: dict[str, object], field: str) -> None:
    refused = control.post("/tenants", {**NEW, **changed})
    assert refused.status_code == 422
    assert list(refused.json()["errors"]) == [field]


def test_tenants_are_listed_in_pages(control: Api) -> None:
    first = control.get("/tenants?limit=1").json()
    assert [item["slug"] for item in first["items"]] == ["acme"]
    second = control.get(f"/tenants?limit=1&cursor={first['next']}").json()
    assert [item["slug"] for item in second["items"]] == ["globex"]


def test_servers_show_their_tenants_and_no_password(control: Api) -> None:
    answer = control.get("/servers")
    assert answer.json()[0]["name"] == "local"
    assert answer.json()[0]["tenants"] >= 2
    assert b"postgres://" not in answer.content


def test_what_is_not_there_is_404(control: Api) -> None:
    for method in ("get", "delete"):
        assert control.request(method, "/tenants/nobody").status_code == 404


def test_nobody_and_those_who_are_no_operators_stay_out(control: Api) -> None:
    assert Api("localhost", None, "/control/api/v1").get("/tenants").status_code == 401
    guest = User.objects.create_user("guest@example.com", role="owner")
    try:
        token = token_create(user=guest, name="test")[1]
        assert Api("localhost", token, "/control/api/v1").get("/tenants").status_code == 403
    finally:
        remove_operator("guest@example.com")


def test_an_operators_token_opens_no_tenant(control: Api) -> None:
    assert Api("acme.localhost", control.token).get("/me").status_code == 401
    assert Api("acme.localhost", control.token, "/control/api/v1").get("/tenants").status_code == 404
