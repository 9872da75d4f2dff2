"""An operator's token opens the details and the metrics from anywhere; nobody else's does."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import User
from accounts.services.tokens import token_create
from tenants.context import use
from tenants.refs import CONTROL, Ref, TenantRef

PATHS = ["/ready?detail", "/metrics"]


def token_of(ref: Ref, *, is_staff: bool) -> str:
    """A new user's token in a tenant or in control."""
    with use(ref):
        user = (
            User.objects.create_superuser("someone@example.com")
            if is_staff
            else User.objects.create_user("x@example.com")
        )
        return token_create(user=user, name="monitoring", scopes=["read"])[1]


@pytest.fixture
def far_away(tenants: dict[str, TenantRef]) -> Client:
    """A client that came through a proxy."""
    return Client(HTTP_HOST="localhost", HTTP_X_FORWARDED_FOR="203.0.113.7")


@pytest.mark.parametrize("path", PATHS)
def test_an_operators_token_opens_them(far_away: Client, path: str) -> None:
    token = token_of(CONTROL, is_staff=True)
    assert far_away.get(path, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_nobody_elses_does(far_away: Client, acme: TenantRef, path: str) -> None:
    for token in (token_of(CONTROL, is_staff=False), token_of(acme, is_staff=True), "tnt_made-up"):
        assert far_away.get(path, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 401
    assert far_away.get(path).status_code == 401
