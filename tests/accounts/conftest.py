"""The people of acme, a stranger from globex, and a client that speaks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from accounts.services.tokens import token_create
from tenants import valkey
from tenants.context import use_control, use_tenant
from tenants.refs import TenantRef

PASSWORD = "correct horse battery staple"


@dataclass
class Api:
    """The API of one host, as a client with a token sees it."""

    host: str
    token: str | None = None
    root: str = "/api/v1"

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        client = Client(raise_request_exception=False, HTTP_HOST=self.host)
        sent = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data: Any = {} if body is None else {"data": body, "content_type": "application/json"}
        return getattr(client, method)(f"{self.root}{path}", headers=sent, **data)

    def get(self, path: str, **headers: str) -> HttpResponse:
        return self.request("get", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.request("post", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> HttpResponse:
        return self.request("patch", path, body, **headers)

    def delete(self, path: str, **headers: str) -> HttpResponse:
        return self.request("delete", path, **headers)


ApiOf = Callable[..., Api]


@pytest.fixture
def api(acme: TenantRef) -> ApiOf:
    """`api(user)` speaks for a member of acme; `api(user, scopes=[…])` by a narrower token."""

    def of(user: User, tenant: TenantRef = acme, **token: Any) -> Api:
        with use_tenant(tenant):
            return Api(f"{tenant.slug}.localhost", token_create(user=user, name="test", **token)[1])

    return of


@pytest.fixture(autouse=True)
def fresh_limits(tenants: dict[str, TenantRef]) -> None:
    """Every test begins with nothing used of any limit."""
    client = valkey.redis_client()
    for owner in ("control", *(ref.id for ref in tenants.values())):
        for key in client.scan_iter(match=f"{owner}:rate:*", count=1000):
            client.delete(key)


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hashing is slow by design; here it needn't be."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def remove_operator(email: str) -> None:
    """Remove somebody from control, who was committed there."""
    with use_control(), connection.cursor() as cursor:
        for table in ("accounts_apitoken", "accounts_signinlink"):
            cursor.execute(f"DELETE FROM {table} USING accounts_user u WHERE u.id = user_id AND u.email = %s", [email])
        cursor.execute("DELETE FROM accounts_user WHERE email = %s", [email])


def _person(tenant: TenantRef, name: str, role: str) -> User:
    with use_tenant(tenant):
        return User.objects.create_user(f"{name.lower()}@{tenant.slug}.example", PASSWORD, name=name, role=role)


@pytest.fixture
def owner(acme: TenantRef, quick_passwords: None) -> User:
    return _person(acme, "Olivia", Role.OWNER)


@pytest.fixture
def admin(acme: TenantRef, quick_passwords: None) -> User:
    return _person(acme, "Adam", Role.ADMIN)


@pytest.fixture
def member(acme: TenantRef, quick_passwords: None) -> User:
    return _person(acme, "Mia", Role.MEMBER)


@pytest.fixture
def viewer(acme: TenantRef, quick_passwords: None) -> User:
    return _person(acme, "Victor", Role.VIEWER)


@pytest.fixture
def stranger(globex: TenantRef, quick_passwords: None) -> User:
    """The owner of the other tenant."""
    return _person(globex, "Sasha", Role.OWNER)


@pytest.fixture
def operator(tenants: dict[str, TenantRef], quick_passwords: None) -> User:
    with use_control():
        return User.objects.create_superuser("operator@example.com", PASSWORD, name="Oscar")


@pytest.fixture
def control_api(operator: User) -> Api:
    """The operators' API, as an operator."""
    with use_control():
        return Api("localhost", token_create(user=operator, name="test")[1], "/control/api/v1")
