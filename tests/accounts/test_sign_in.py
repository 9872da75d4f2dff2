"""Signing in with a password: by the backend that pages and the operators' admin use."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.test import Client, RequestFactory

from accounts.models import User
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import PASSWORD


def _request(address: str = "192.0.2.1") -> Any:
    return RequestFactory().post("/", REMOTE_ADDR=address)


def test_an_address_signs_in_in_any_case(tenant: TenantRef, member: User) -> None:
    assert authenticate(_request(), email="MIA@acme.EXAMPLE", password=PASSWORD) == member


@pytest.mark.parametrize(
    ("email", "password"),
    [("mia@acme.example", "wrong"), ("nobody@acme.example", PASSWORD), ("", ""), ("a\0b@x.example", "x")],
)
def test_what_is_wrong_signs_nobody_in(tenant: TenantRef, member: User, email: str, password: str) -> None:
    assert authenticate(_request(), email=email, password=password) is None


def test_a_deactivated_member_stays_out(tenant: TenantRef, member: User) -> None:
    User.objects.update(is_active=False)
    assert authenticate(_request(), email=member.email, password=PASSWORD) is None


def test_a_member_of_one_tenant_is_nobody_in_another(globex: TenantRef, member: User) -> None:
    with use_tenant(globex):
        assert authenticate(_request(), email=member.email, password=PASSWORD) is None


def test_after_too_many_failures_the_right_password_waits_too(tenant: TenantRef, member: User) -> None:
    for _ in range(10):
        assert authenticate(_request(), email=member.email, password="wrong") is None
    assert authenticate(_request(), email=member.email, password=PASSWORD) is None
    # From elsewhere it still works: nobody can lock another one out.
    assert authenticate(_request("198.51.100.7"), email=member.email, password=PASSWORD) == member


def test_successes_do_not_count(tenant: TenantRef, member: User) -> None:
    for _ in range(12):
        assert authenticate(_request(), email=member.email, password=PASSWORD) == member


def test_a_session_is_of_its_tenant_alone(acme: TenantRef, member: User) -> None:
    client = Client()
    with use_tenant(acme):
        client.force_login(member)
    assert client.get("/api/v1/me", HTTP_HOST="acme.localhost").status_code == 200
    assert client.get("/api/v1/me", HTTP_HOST="globex.localhost").status_code == 401
