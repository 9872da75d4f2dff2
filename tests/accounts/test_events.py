"""Each change leaves its event in the same transaction, once, with who did it and from where."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.test import Client, RequestFactory

from accounts.models import User
from accounts.services.profile import password_change
from activity.models import OutboxEvent
from activity.personal import reveal
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import PASSWORD, ApiOf


def _events(ref: TenantRef) -> list[dict[str, Any]]:
    """What was recorded since the cast came in."""
    with use_tenant(ref):
        documents = reveal(ref, OutboxEvent.objects.order_by("id").values_list("document", flat=True))
        return [
            document for document in documents if document["action"] != "token.created" or document["data"] != "test"
        ]


def _actions(ref: TenantRef) -> list[str]:
    return [event["action"] for event in _events(ref)]


def test_a_members_life(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    made = asking.post("/members", {"email": "grace@example.com", "name": "Grace"}).json()
    for changes in (
        {"name": "Grace H."},
        {"role": "admin"},
        {"is_active": False},
        {"is_active": True},
        {"is_active": True},
    ):
        asking.patch(f"/members/{made['id']}", changes)
    asking.delete(f"/members/{made['id']}")
    assert _actions(acme)[1:] == [
        "member.created",
        "member.updated",
        "member.role_changed",
        "member.deactivated",
        "member.reactivated",
        "member.removed",
    ]
    created = _events(acme)[1]
    assert created["actor"] == {"type": "member", "id": str(owner.id), "name": "Olivia"}
    assert created["target"] == {"type": "member", "id": made["id"], "name": "Grace"}
    assert created["data"] == {"email": "grace@example.com", "role": "member"}
    assert (created["source"], created["ip"]) == ("api", "127.0.0.1")


def test_invitations_tokens_and_the_organisation(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    sent = asking.post("/invitations", {"email": "grace@example.com"}).json()
    asking.delete(f"/invitations/{sent['id']}")
    made = asking.post("/tokens", {"name": "CI"}).json()
    asking.delete(f"/tokens/{made['id']}")
    asking.patch("/tenant", {"name": "Acme Ltd"})
    assert _actions(acme)[1:] == [
        "invitation.sent",
        "invitation.revoked",
        "token.created",
        "token.revoked",
        "tenant.updated",
    ]
    assert made["token"] not in str(_events(acme))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/members", {"email": "olivia@acme.example"}),
        ("post", "/members", {"email": "nonsense"}),
        ("patch", "/members/{owner}", {"role": "viewer"}),
        ("patch", "/members/{owner}", {"name": "Olivia"}),
        ("patch", "/tenant", {"name": "Acme"}),
        ("patch", "/tenant", {}),
    ],
)
def test_what_changes_nothing_leaves_none(
    api: ApiOf, owner: User, acme: TenantRef, method: str, path: str, body: dict[str, str]
) -> None:
    asking = api(owner)
    before = len(_events(acme))
    asking.request(method, path.format(owner=owner.id), body)
    assert len(_events(acme)) == before


def test_the_request_id_is_kept(api: ApiOf, owner: User, acme: TenantRef) -> None:
    api(owner).post("/members", {"email": "grace@example.com"}, X_Request_ID="my-request-1")
    assert _events(acme)[-1]["request_id"] == "my-request-1"


def test_signing_in_and_out(acme: TenantRef, member: User) -> None:
    client = Client(HTTP_HOST="acme.localhost")
    with use_tenant(acme):
        assert client.login(email=member.email, password=PASSWORD)
        client.logout()
    assert _actions(acme) == ["session.signed_in", "session.signed_out"]
    assert _events(acme)[0]["actor"]["id"] == str(member.id)


def test_a_failed_sign_in_names_the_member_if_there_is_one(acme: TenantRef, member: User) -> None:
    request = RequestFactory().post("/")
    with use_tenant(acme):
        authenticate(request, email="MIA@acme.example", password="wrong")
        authenticate(request, email="nobody@acme.example", password="wrong")
    known, unknown = _events(acme)
    assert (known["target"]["id"], unknown["target"]) == (str(member.id), None)
    assert "wrong" not in str([known, unknown])


def test_past_the_limit_failures_leave_none(acme: TenantRef, member: User) -> None:
    with use_tenant(acme):
        for _ in range(15):
            authenticate(RequestFactory().post("/"), email=member.email, password="wrong")
    assert len(_events(acme)) == 10


def test_a_changed_password_is_told_without_it(tenant: TenantRef, member: User) -> None:
    password_change(user=member, former=PASSWORD, password="another fine password")
    event = _events(tenant)[-1]
    assert event["action"] == "member.updated"
    assert "another fine password" not in str(event)
