"""A browser's session for each of acme's people, without a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import User
from tenants.context import use_tenant
from tenants.refs import TenantRef

SignedIn = Callable[..., Client]


@pytest.fixture
def signed_in(acme: TenantRef) -> SignedIn:
    """`signed_in(user)` is a client of acme's host with that member's session."""

    def signed_in(user: User, **options: object) -> Client:
        client = Client(HTTP_HOST="acme.localhost", raise_request_exception=False, **options)
        with use_tenant(acme):
            client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def anonymous(acme: TenantRef) -> Client:
    """A client of acme's host without a session."""
    return Client(HTTP_HOST="acme.localhost", raise_request_exception=False)


@pytest.fixture
def control(acme: TenantRef) -> Client:
    """A client of the control host without a session."""
    return Client(HTTP_HOST="localhost", raise_request_exception=False)
