"""A right that was taken away is gone with the commit that took it."""

from __future__ import annotations

from django.test import Client

from accounts.models import User
from tenants.context import use_tenant
from tenants.testing import prepare_tenants
from tests.accounts.conftest import ApiOf


def _signed_in(user: User) -> Client:
    client = Client(HTTP_HOST="acme.localhost")
    with use_tenant(prepare_tenants()["acme"]):
        client.force_login(User.objects.get(pk=user.pk))
    return client


def test_deactivation_ends_tokens_and_sessions(api: ApiOf, owner: User, member: User) -> None:
    token, session = api(member), _signed_in(member)
    assert token.get("/me").status_code == session.get("/api/v1/me").status_code == 200
    api(owner).patch(f"/members/{member.id}", {"is_active": False})
    assert token.get("/me").status_code == session.get("/api/v1/me").status_code == 401


def test_reactivation_brings_neither_back(api: ApiOf, owner: User, member: User) -> None:
    token, session, asking = api(member), _signed_in(member), api(owner)
    asking.patch(f"/members/{member.id}", {"is_active": False})
    asking.patch(f"/members/{member.id}", {"is_active": True})
    assert token.get("/me").status_code == session.get("/api/v1/me").status_code == 401
    assert _signed_in(member).get("/api/v1/me").status_code == 200


def test_removal_ends_tokens_and_sessions(api: ApiOf, owner: User, member: User) -> None:
    token, session = api(member), _signed_in(member)
    assert api(owner).delete(f"/members/{member.id}").status_code == 204
    assert token.get("/me").status_code == session.get("/api/v1/me").status_code == 401


def test_a_role_counts_from_the_next_request_on(api: ApiOf, owner: User, admin: User) -> None:
    asking = api(admin)
    assert asking.get("/invitations").status_code == 200
    api(owner).patch(f"/members/{admin.id}", {"role": "viewer"})
    assert asking.get("/invitations").status_code == 403
