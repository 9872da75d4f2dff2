"""A member's tokens on their page."""

from __future__ import annotations

from accounts.models import ApiToken, User
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.pages.conftest import SignedIn

FORM = {"name": "export", "scopes": ["read"], "expires_at": "30"}


def test_a_token_is_shown_once(signed_in: SignedIn, acme: TenantRef, member: User) -> None:
    client = signed_in(member)
    answer = client.post("/tokens/create", FORM)
    plain = answer.context["plain"]
    assert plain in answer.content.decode()
    listed = client.get("/tokens").content.decode()
    assert plain not in listed
    assert plain[:12] in listed


def test_it_expires_when_it_was_said(signed_in: SignedIn, acme: TenantRef, member: User) -> None:
    client = signed_in(member)
    client.post("/tokens/create", FORM)
    client.post("/tokens/create", {**FORM, "expires_at": ""})
    with use_tenant(acme):
        first, second = ApiToken.objects.order_by("created_at")
    assert first.expires_at is not None
    assert (first.expires_at - first.created_at).days in {29, 30}
    assert second.expires_at is None


def test_a_token_without_a_scope_is_refused(signed_in: SignedIn, member: User) -> None:
    answer = signed_in(member).post("/tokens/create", {"name": "x", "expires_at": "30"})
    assert answer.status_code == 422
    assert 'id="id_scopes_error"' in answer.content.decode()


def test_a_revoked_token_leaves_the_list(signed_in: SignedIn, acme: TenantRef, member: User) -> None:
    client = signed_in(member)
    client.post("/tokens/create", FORM)
    with use_tenant(acme):
        token = ApiToken.objects.get()
    assert "is revoked" in client.post(f"/tokens/{token.pk}/revoke", follow=True).content.decode()
    assert token.prefix not in client.get("/tokens").content.decode()


def test_others_tokens_are_out_of_reach(signed_in: SignedIn, acme: TenantRef, owner: User, member: User) -> None:
    signed_in(member).post("/tokens/create", FORM)
    with use_tenant(acme):
        token = ApiToken.objects.get()
    signed_in(owner).post(f"/tokens/{token.pk}/revoke")
    with use_tenant(acme):
        assert ApiToken.objects.get().revoked_at is None
