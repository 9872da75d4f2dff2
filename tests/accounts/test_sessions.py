"""The session cookie as the API's caller, and its CSRF token."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import User
from tenants.context import use_tenant
from tenants.refs import TenantRef

MEMBER = {"email": "x@x.example"}


@pytest.fixture
def session(acme: TenantRef, owner: User) -> Client:
    client = Client(HTTP_HOST="acme.localhost", enforce_csrf_checks=True)
    with use_tenant(acme):
        client.force_login(owner)
    return client


def _csrf_token(client: Client, acme: TenantRef) -> str:
    from django.middleware.csrf import _get_new_csrf_string, _mask_cipher_secret

    secret = _get_new_csrf_string()
    with use_tenant(acme):
        session = client.session
        session["_csrftoken"] = secret
        session.save()
    return _mask_cipher_secret(secret)


def test_a_session_reads(session: Client, owner: User) -> None:
    assert session.get("/api/v1/me").json()["email"] == owner.email


def test_a_session_writes_with_its_csrf_token_alone(session: Client, acme: TenantRef) -> None:
    refused = session.post("/api/v1/members", MEMBER, content_type="application/json")
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["detail"]
    headers = {"X-CSRFToken": _csrf_token(session, acme)}
    assert session.post("/api/v1/members", MEMBER, content_type="application/json", headers=headers).status_code == 201


def test_a_session_of_one_tenant_is_nothing_in_another(session: Client, stranger: User) -> None:
    assert session.get("/api/v1/me", HTTP_HOST="globex.localhost").status_code == 401


def test_with_a_bad_token_the_session_does_not_count(session: Client) -> None:
    assert session.get("/api/v1/me", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_without_either_a_write_is_401_not_a_csrf_failure(acme: TenantRef) -> None:
    client = Client(HTTP_HOST="acme.localhost", enforce_csrf_checks=True)
    assert client.post("/api/v1/members", MEMBER, content_type="application/json").status_code == 401
