from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.test import Client

from accounts.errors import InvalidField, SlugRefused
from accounts.models import User
from accounts.signup import tenant_sign_up
from tenants import directory
from tenants.context import use_control, use_tenant
from tenants.errors import TenantNotFound
from tenants.lifecycle.offboard import delete_tenant
from tenants.models import Tenant
from tests.accounts.conftest import PASSWORD, Api

FORM: dict[str, Any] = {
    "slug": "initech",
    "name": "Initech",
    "owner_email": "Peter@initech.example",
    "owner_password": PASSWORD,
    "owner_name": "Peter",
}


class TooLong(MD5PasswordHasher):
    """A hasher whose hashes don't fit their column."""

    algorithm = "toolong"

    def encode(self, password: str, salt: str) -> str:
        return "toolong$" + "x" * 200


@pytest.fixture(autouse=True)
def initech_is_gone(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """What these tests make is real and is removed; nothing is rolled back, since a database can't be."""
    with django_db_blocker.unblock(), use_control():
        yield
        for tenant in Tenant.objects.filter(slug="initech"):
            delete_tenant(tenant.ref())


@pytest.fixture
def fresh_limits() -> None:
    """Not needed here, and its tenants would be in a transaction."""


def test_an_organisation_begins_with_its_owner() -> None:
    made = tenant_sign_up(**FORM, token_name="first")
    assert (made.tenant.slug, made.tenant.state, made.tenant.plan) == ("initech", "active", "free")
    with use_tenant(made.tenant):
        owner = User.objects.get()
        assert (owner.email, owner.name, owner.role, owner.check_password(PASSWORD)) == (
            FORM["owner_email"],
            "Peter",
            "owner",
            True,
        )
    assert Api("initech.localhost", made.token).get("/me").json()["tenant"] == {"slug": "initech", "name": "Initech"}


def test_the_link_signs_the_owner_in_once() -> None:
    made = tenant_sign_up(**FORM)
    assert urlsplit(made.sign_in_url).hostname == "initech.localhost"
    path = made.sign_in_url.partition("/sign-in/")[2]
    client = Client(HTTP_HOST="initech.localhost")
    assert client.get(f"/sign-in/{path}").status_code == 200
    assert client.post(f"/sign-in/{path}").status_code == 302
    assert client.get("/api/v1/me").json()["role"] == "owner"
    assert Client(HTTP_HOST="initech.localhost").post(f"/sign-in/{path}").status_code == 410


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"owner_password": "short"}, "owner_password"),
        ({"owner_password": "peter@initech.example"}, "owner_password"),
        ({"owner_email": "nonsense"}, "owner_email"),
        ({"name": " "}, "name"),
        ({"slug": "x"}, "slug"),
        ({"slug": "Initech"}, "slug"),
        ({"slug": "www"}, "slug"),
        ({"slug": "in\x00it"}, "slug"),
    ],
)
def test_what_is_refused_leaves_nothing(changed: dict[str, str], field: str) -> None:
    before = set(Tenant.objects.values_list("slug", flat=True))
    with pytest.raises(InvalidField) as refused:
        tenant_sign_up(**{**FORM, **changed})
    assert list(refused.value.errors) == [field]
    assert set(Tenant.objects.values_list("slug", flat=True)) == before


def test_a_taken_slug_is_a_conflict() -> None:
    tenant_sign_up(**FORM)
    with pytest.raises(SlugRefused) as refused:
        tenant_sign_up(**FORM)
    assert refused.value.status == 409


def test_a_failure_half_way_leaves_nothing(settings: Any) -> None:
    # The owner's row can't be written: the plan is known, the password's hash is longer than its column.
    settings.PASSWORD_HASHERS = ["tests.accounts.test_signup.TooLong"]
    with pytest.raises(Exception, match="too long"):
        tenant_sign_up(**FORM)
    with pytest.raises(TenantNotFound):
        directory.by_slug("initech")
    assert not Tenant.objects.filter(slug="initech").exists()
