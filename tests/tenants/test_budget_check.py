"""What `manage.py check --database control` and `doctor` say of a server's connections."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from tenants.checks import check_budgets
from tenants.context import use_control
from tenants.db.budget import complaint
from tenants.ids import new_id
from tenants.models import Lease, ServerBudget
from tenants.refs import TenantRef


@pytest.mark.parametrize(
    ("limit", "leased", "holders", "most", "expected"),
    [
        (97, 40, 6, 20, ""),
        (8, 0, 1, 20, "nothing is left"),
        (50, 45, 6, 20, "Raise max_connections by 5"),
        (25, 0, 6, 5, "fewer than 3 each"),
        (40, 0, 6, 50, "Lower POOL_MAX to 30"),
    ],
)
def test_the_first_thing_that_is_wrong_is_said(
    settings: Any, limit: int, leased: int, holders: int, most: int, expected: str
) -> None:
    settings.POOL_RESERVE = 10
    said = complaint(limit=limit, leased=leased, holders=holders, most=most)
    assert expected in said
    assert bool(said) == bool(expected)


def test_the_check_compares_the_sum_of_the_leases_with_the_servers_limit(
    tenants: dict[str, TenantRef], settings: Any
) -> None:
    settings.POOL_RESERVE = 10
    with use_control():
        ServerBudget.objects.all().delete()
        budget = ServerBudget.objects.create(endpoint="db.example:5432", server_limit=47)
        for size in (20, 17):
            Lease.objects.create(
                budget=budget, holder=new_id(), process="web 1@here", size=size, wanted=1,
                backend=1, backend_start=timezone.now(), renewed_at=timezone.now(),
            )  # fmt: skip
        assert check_budgets(databases=["control"]) == []
        Lease.objects.update(size=25)
        (warning,) = check_budgets(databases=["control"])
        assert "50 are leased" in warning.msg
        assert check_budgets(databases=None) == []
