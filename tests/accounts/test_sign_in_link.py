from __future__ import annotations

import pytest

from accounts.errors import SignInLinkUnusable
from accounts.models import SignInLink, User
from accounts.signup import sign_in_link_consume, sign_in_link_create
from tenants.context import use_tenant
from tenants.refs import TenantRef


def test_it_signs_in_once(tenant: TenantRef, member: User) -> None:
    secret = sign_in_link_create(user=member)
    assert sign_in_link_consume(secret) == member
    with pytest.raises(SignInLinkUnusable):
        sign_in_link_consume(secret)


def test_it_expires(tenant: TenantRef, member: User) -> None:
    secret = sign_in_link_create(user=member)
    SignInLink.objects.update(expires_at="2020-01-01T00:00Z")
    with pytest.raises(SignInLinkUnusable):
        sign_in_link_consume(secret)


def test_it_is_kept_as_a_hash(tenant: TenantRef, member: User) -> None:
    secret = sign_in_link_create(user=member)
    assert secret not in str(SignInLink.objects.values().get())


def test_a_deactivated_member_stays_out(tenant: TenantRef, member: User) -> None:
    secret = sign_in_link_create(user=member)
    User.objects.update(is_active=False)
    with pytest.raises(SignInLinkUnusable):
        sign_in_link_consume(secret)


def test_it_is_nothing_in_another_tenant(acme: TenantRef, globex: TenantRef, member: User) -> None:
    with use_tenant(acme):
        secret = sign_in_link_create(user=member)
    with use_tenant(globex), pytest.raises(SignInLinkUnusable):
        sign_in_link_consume(secret)
