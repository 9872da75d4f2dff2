"""Django's own commands in control: `manage.py` enters it, and `default` is control there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection

from tenants.context import use_control, use_tenant
from tenants.refs import CONTROL, TenantRef

User: Any = get_user_model()


@pytest.fixture
def control(tenants: dict[str, TenantRef]) -> Iterator[None]:
    with use_control():
        yield


def output_of(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, no_color=True, **options)
    return out.getvalue()


def test_no_migration_is_missing(control: None) -> None:
    assert "No changes detected" in output_of("makemigrations", check_changes=True, dry_run=True)


@pytest.mark.parametrize("options", [{}, {"database": "default"}, {"database": "control"}], ids=str)
def test_migrate_has_nothing_left_to_do(control: None, options: dict[str, str]) -> None:
    call_command("migrate", check_unapplied=True, verbosity=0, **options)


def test_showmigrations_shows_all_as_applied(control: None) -> None:
    shown = output_of("showmigrations", "tenants", "accounts", "activity", "sessions")
    assert "[X] 0001_initial" in shown
    assert "[ ]" not in shown


def test_sqlmigrate_shows_sql(control: None) -> None:
    assert 'CREATE TABLE "accounts_user"' in output_of("sqlmigrate", "accounts", "0001")


def test_createsuperuser_makes_an_operator(control: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery staple")
    call_command("createsuperuser", email="new-operator@example.com", interactive=False, verbosity=0)
    made = User.objects.get(email="new-operator@example.com")
    assert made.is_staff
    assert made.is_superuser
    assert made._state.db == CONTROL.alias


def test_dumpdata_and_loaddata_go_round(control: None, tmp_path: Path) -> None:
    User.objects.create_user("dumped@example.com", name="Dumped")
    dump = tmp_path / "users.json"
    dump.write_text(output_of("dumpdata", "accounts.user", "tenants.tenant"))
    assert {row["model"] for row in json.loads(dump.read_text())} == {"accounts.user", "tenants.tenant"}
    User.objects.filter(email="dumped@example.com").delete()
    call_command("loaddata", str(dump), verbosity=0)
    assert User.objects.get(email="dumped@example.com").name == "Dumped"


def test_control_has_no_table_of_a_tenants_own_apps(control: None) -> None:
    assert not [name for name in connection.introspection.table_names() if name.startswith(("taggit_", "notes_"))]


def test_a_tenant_has_no_table_of_the_registry(tenant: TenantRef) -> None:
    assert not [name for name in connection.introspection.table_names() if name.startswith("tenants_")]
    call_command("migrate", check_unapplied=True, verbosity=0)


def test_without_control_or_tenant_a_command_that_needs_a_database_says_so(tenants: dict[str, TenantRef]) -> None:
    from tenants.errors import NoTenant

    with pytest.raises((NoTenant, CommandError), match="none is active"):
        call_command("migrate", verbosity=0)


def test_a_tenants_users_are_its_own(acme: TenantRef, globex: TenantRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery staple")
    with use_tenant(acme):
        call_command("createsuperuser", email="someone@acme.example", interactive=False, verbosity=0)
        assert User.objects.filter(email="someone@acme.example").exists()
    for ref in (globex, CONTROL):
        with use_control() if ref is CONTROL else use_tenant(globex):
            assert not User.objects.filter(email="someone@acme.example").exists()
