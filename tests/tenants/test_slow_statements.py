"""What a slow statement leaves in the log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from tenants.db.measured import statements
from tenants.refs import TenantRef

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The lines of slow statements, written as the process writes them."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(next(h.formatter for h in logging.getLogger().handlers if type(h) is logging.StreamHandler))
    logger = logging.getLogger("tenants.statements")
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in output.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_its_text_is_logged_without_its_values(tenant: TenantRef, settings: Any, lines: Lines) -> None:
    settings.SLOW_STATEMENT_MS = 20
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.03), %s", ["grace@acme.example"])
    (line,) = lines()
    assert line["statement"] == "SELECT pg_sleep(0.03), %s"
    assert (line["tenant"], line["on"]) == ("acme", "primary")
    assert line["duration_ms"] >= 30
    assert "grace" not in json.dumps(line)


def test_quick_ones_leave_no_line(tenant: TenantRef, settings: Any, lines: Lines) -> None:
    settings.SLOW_STATEMENT_MS = 10_000
    assert not User.objects.filter(email="x").exists()
    assert lines() == []


def test_nought_turns_it_off(tenant: TenantRef, settings: Any, lines: Lines) -> None:
    settings.SLOW_STATEMENT_MS = 0
    assert not User.objects.filter(email="x").exists()
    assert lines() == []


def test_each_statement_counts_for_the_plan_of_its_tenant(tenant: TenantRef) -> None:
    before = statements()[tenant.plan].count
    list(User.objects.all())
    list(User.objects.all())
    assert statements()[tenant.plan].count == before + 2
