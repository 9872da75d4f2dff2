"""What is not a table: signatures, cache keys, file paths. Each belongs to the active tenant and raises without one."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.sessions.backends.db import SessionStore
from django.core import signing
from django.core.cache import cache
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import override_settings

from tenants.cache import key
from tenants.context import use_tenant
from tenants.errors import NoTenant
from tenants.refs import TenantRef
from tenants.valkey import redis_client

MODULE_LEVEL_SIGNER = signing.Signer(salt="tests")


def test_a_signed_id_of_a_does_not_load_in_b(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        signed, dumped = MODULE_LEVEL_SIGNER.sign("42"), signing.dumps({"id": 42})
        assert MODULE_LEVEL_SIGNER.unsign(signed) == "42"
    with use_tenant(globex):
        with pytest.raises(signing.BadSignature):
            MODULE_LEVEL_SIGNER.unsign(signed)
        with pytest.raises(signing.BadSignature):
            signing.loads(dumped)


def test_control_with_one_key_for_all_it_loads(acme: TenantRef, globex: TenantRef) -> None:
    with override_settings(SECRET_KEY="one key for all tenants, as a plain project has it"):
        with use_tenant(acme):
            signed = signing.Signer(salt="tests").sign("42")
        with use_tenant(globex):
            assert signing.Signer(salt="tests").unsign(signed) == "42"


def test_a_reset_token_of_a_is_nothing_in_b_even_for_an_equal_user(acme: TenantRef, globex: TenantRef) -> None:
    user = get_user_model()(email="same@people.example", password="!same")
    tokens = PasswordResetTokenGenerator()
    with use_tenant(acme):
        token = tokens.make_token(user)
        assert tokens.check_token(user, token)
    with use_tenant(globex):
        assert not tokens.check_token(user, token)


def test_session_data_of_a_does_not_decode_in_b(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        encoded = SessionStore().encode({"role": "owner"})
        assert SessionStore().decode(encoded) == {"role": "owner"}
    with use_tenant(globex):
        assert SessionStore().decode(encoded) == {}


def test_the_same_cache_key_is_another_entry_in_b(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        cache.set("page", "of acme")
        assert cache.get("page") == "of acme"
    with use_tenant(globex):
        assert cache.get("page") is None
        cache.clear()
    with use_tenant(acme):
        assert cache.get("page") == "of acme"
        cache.clear()
        assert cache.get("page") is None


@pytest.mark.parametrize("name", ["{id}:cache:1:page", "../{id}:cache:1:page", ":{id}:cache:1:page"])
def test_no_key_of_b_spells_a_key_of_a(name: str, acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        cache.set("page", "of acme")
    with use_tenant(globex):
        assert cache.get(name.format(id=acme.id)) is None
    with use_tenant(acme):
        cache.clear()


def test_every_key_in_valkey_begins_with_an_owner(acme: TenantRef) -> None:
    with use_tenant(acme):
        cache.set("anything", 1)
        redis_client().set(key("raw"), 1, ex=5)
        found = [name.decode() for name in redis_client().scan_iter(match=f"*{acme.id}*")]
        cache.clear()
    assert found
    assert all(name.startswith(f"{acme.id}:") for name in found)


def test_files_lie_in_the_tenants_own_folder(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        name = default_storage.save("report.txt", ContentFile(b"of acme"))
        assert acme.id in default_storage.path(name)
    with use_tenant(globex):
        assert not default_storage.exists(name)
        for wrong in (f"../{acme.id}/{name}", f"/{acme.id}/{name}"):
            with pytest.raises(SuspiciousFileOperation):
                default_storage.open(wrong)
    with use_tenant(acme):
        default_storage.delete(name)


USES = {
    "reading the cache": lambda: cache.get("page"),
    "writing the cache": lambda: cache.set("page", 1),
    "naming a key": lambda: key("raw"),
    "looking for a file": lambda: default_storage.exists("report.txt"),
    "dumping a signed value": lambda: signing.dumps({}),
    "signing": lambda: MODULE_LEVEL_SIGNER.sign("42"),
    "encoding a session": lambda: SessionStore().encode({}),
}


@pytest.mark.parametrize("use", USES)
def test_each_raises_without_a_tenant(use: str) -> None:
    with pytest.raises(NoTenant):
        USES[use]()
