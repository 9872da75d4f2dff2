from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.models import IdempotencyKey, User
from accounts.services.expiry import expired_prune
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf

BODY = {"email": "grace@example.com"}


def test_a_repeat_gets_the_same_answer_and_changes_nothing(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    first = asking.post("/members", BODY, Idempotency_Key="k1")
    again = asking.post("/members", BODY, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert again["Idempotency-Replayed"] == "true"
    with use_tenant(acme):
        assert User.objects.filter(email="grace@example.com").count() == 1


def test_another_body_is_refused(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    asking.post("/members", BODY, Idempotency_Key="k1")
    assert asking.post("/members", {"email": "other@example.com"}, Idempotency_Key="k1").status_code == 422
    assert asking.post("/invitations", BODY, Idempotency_Key="k1").status_code == 422


def test_an_error_is_not_kept(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    assert asking.post("/members", {"email": owner.email}, Idempotency_Key="k1").status_code == 409
    assert asking.post("/members", BODY, Idempotency_Key="k1").status_code == 201


def test_keys_belong_to_their_user(api: ApiOf, owner: User, admin: User) -> None:
    api(owner).post("/members", BODY, Idempotency_Key="k1")
    assert api(admin).post("/members", {"email": "other@example.com"}, Idempotency_Key="k1").status_code == 201


def test_a_kept_answer_shows_no_secret(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    first = asking.post("/tokens", {"name": "CI"}, Idempotency_Key="k1")
    assert asking.post("/tokens", {"name": "CI"}, Idempotency_Key="k1").json() == first.json()
    with use_tenant(acme):
        assert first.json()["token"].encode() not in bytes(IdempotencyKey.objects.get().body)


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "é"])
def test_what_is_no_key_is_refused(api: ApiOf, owner: User, key: str) -> None:
    assert api(owner).post("/members", BODY, Idempotency_Key=key).status_code == 422


def test_nobody_gets_401(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    asking.token = "nonsense"
    assert asking.post("/members", BODY, Idempotency_Key="k1").status_code == 401


def test_after_a_day_a_key_is_free_again(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    asking.post("/members", BODY, Idempotency_Key="k1")
    _age(acme)
    assert asking.post("/members", {"email": "other@example.com"}, Idempotency_Key="k1").status_code == 201


def test_old_keys_are_pruned(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    asking.post("/members", BODY, Idempotency_Key="k1")
    _age(acme)
    asking.post("/members", {"email": "other@example.com"}, Idempotency_Key="k2")
    with use_tenant(acme):
        assert expired_prune()["idempotency_keys"] == 1
        assert IdempotencyKey.objects.get().key == "k2"


def _age(ref: TenantRef) -> None:
    with use_tenant(ref):
        for row in IdempotencyKey.objects.all():
            row.created_at -= timedelta(hours=25)
            row.save()
