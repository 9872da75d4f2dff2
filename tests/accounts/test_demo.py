"""`manage.py demo`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.management.commands import demo
from accounts.models import Invitation, User
from tenants import directory
from tenants.context import use_control, use_tenant
from tenants.lifecycle.offboard import delete_tenant
from tenants.models import Tenant
from tests.accounts.conftest import Api, remove_operator

SLUG = "vandelay"


@pytest.fixture
def fresh_limits() -> None:
    """Not needed here, and its tenants would be in a transaction."""


@pytest.fixture(autouse=True)
def all_is_gone(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """What the demo makes is real and is removed. It has one organisation here, whose name is free in the tests."""
    kept = demo.ORGANISATIONS
    demo.ORGANISATIONS = {SLUG: ("Vandelay Industries", "Art Vandelay", ["Jerry S", "Elaine B"])}
    with django_db_blocker.unblock(), use_control():
        yield
        demo.ORGANISATIONS = kept
        remove_operator(demo.OPERATOR_EMAIL)
        for tenant in Tenant.objects.filter(slug=SLUG):
            delete_tenant(tenant.ref())


def _demo(path: Path, *options: str) -> dict[str, Any]:
    out = StringIO()
    call_command("demo", "--json", "--file", str(path), *options, stdout=out)
    return dict(json.loads(out.getvalue()))


def test_what_it_prints_works_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    first = _demo(path)
    assert path.stat().st_mode & 0o777 == 0o600
    [tenant], operator = first["tenants"], first["operator"]
    assert Api(f"{SLUG}.localhost", tenant["token"]).get("/me").json()["role"] == "owner"
    assert Api("localhost", operator["token"], "/control/api/v1").get("/tenants").status_code == 200
    with use_tenant(directory.by_slug(SLUG)):
        assert User.objects.by_email(tenant["email"]).check_password(tenant["password"])  # type: ignore[union-attr]
        assert (User.objects.count(), Invitation.objects.count()) == (3, 1)
    assert _demo(path) == first


def test_what_no_longer_works_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    first = _demo(path, "--no-tenants")
    assert first["tenants"] == []
    path.unlink()
    second = _demo(path, "--no-tenants")
    assert second["operator"]["token"] != first["operator"]["token"]
    assert Api("localhost", second["operator"]["token"], "/control/api/v1").get("/tenants").status_code == 200


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text("{")
    with pytest.raises(CommandError, match=r"demo\.json"):
        _demo(path)
