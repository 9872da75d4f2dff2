"""What happens when two do it at the same moment: real commits, in a tenant of this file's own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from typing import Any

import pytest
from django.http import HttpResponse

from accounts.errors import LastOwner, SignInLinkUnusable
from accounts.models import IdempotencyKey, User
from accounts.roles import Role
from accounts.services.members import member_change_role
from accounts.services.tokens import token_create
from accounts.signup import sign_in_link_consume, sign_in_link_create
from tenants.context import use_control, use_tenant
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api
from tests.at_once import at_once


@pytest.fixture
def fresh_limits() -> None:
    """Not needed here, and its tenants would be in a transaction."""


@pytest.fixture(scope="module")
def initrode(django_db_setup: None, django_db_blocker: Any) -> Iterator[TenantRef]:
    with django_db_blocker.unblock():
        with use_control():
            ref, _ = provision_tenant(slug="initrode", name="Initrode")
        yield ref
        delete_tenant(ref)


def test_two_owners_who_demote_each_other_leave_one(initrode: TenantRef) -> None:
    for _ in range(10):
        with use_tenant(initrode):
            User.objects.all().delete()
            one, two = (User.objects.create_user(f"{name}@x.example", role=Role.OWNER) for name in ("one", "two"))
        outcomes = at_once(
            initrode,
            partial(member_change_role, by=one, member=copy(two), role=Role.VIEWER),
            partial(member_change_role, by=two, member=copy(one), role=Role.VIEWER),
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["LastOwner", "User"], outcomes
        assert any(isinstance(outcome, LastOwner) for outcome in outcomes)


def test_a_sign_in_link_is_used_once(initrode: TenantRef) -> None:
    with use_tenant(initrode):
        user = User.objects.create_user("link@x.example")
        secret = sign_in_link_create(user=user)
    outcomes = at_once(initrode, *[lambda: sign_in_link_consume(secret)] * 5)
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, SignInLinkUnusable) for outcome in outcomes) == 4


def test_a_key_sent_five_times_at_once_takes_effect_once(initrode: TenantRef) -> None:
    with use_tenant(initrode):
        owner = User.objects.create_user("boss@x.example", role=Role.OWNER)
        asking = Api("initrode.localhost", token_create(user=owner, name="test")[1])

    def post() -> HttpResponse:
        with ThreadPoolExecutor(1) as pool:  # a thread of its own: a server's threads aren't in a tenant beforehand
            return pool.submit(asking.post, "/members", {"email": "new@x.example"}, Idempotency_Key="once").result()

    answers = at_once(initrode, *[post] * 5)
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    for answer in answers:
        if answer.status_code == 409:
            assert answer["Retry-After"] == "1"
    with use_tenant(initrode):
        assert User.objects.filter(email="new@x.example").count() == 1
        assert IdempotencyKey.objects.count() == 1
    assert post()["Idempotency-Replayed"] == "true"
