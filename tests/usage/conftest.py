"""Usage of acme, counted anew in each test; and tenants in which commits are commits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tenants import disk, usage
from tenants.context import use_control
from tenants.models import UsageDay
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    admin,
    api,
    fresh_limits,
    member,
    operator,
    owner,
    quick_passwords,
    viewer,
)
from tests.accounts.pages.conftest import anonymous, signed_in  # noqa: F401  fixtures
from tests.activity.conftest import lasting_tenant  # noqa: F401  fixture
from tests.jobs.conftest import no_files_left  # noqa: F401  fixture
from tests.jobs.kinds import kinds  # noqa: F401  fixture


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    """Whatever other tests of this process have counted isn't this one's."""
    usage.forget()
    yield
    usage.forget()


@pytest.fixture(autouse=True)
def no_days(request: pytest.FixtureRequest) -> None:
    """Nor is what processes of other tests have flushed of the cast, or what others have committed to its logs."""
    if "tenants" in request.fixturenames:
        request.getfixturevalue("empty_logs")
        with use_control():
            UsageDay.objects.all().delete()


@pytest.fixture
def limit(settings: Any) -> Any:
    """`limit(members=3)`: what the plan of the cast, free, has of a meter."""

    def set_limits(**limits: int) -> None:
        settings.PLAN_LIMITS = {meter: {"free": number} for meter, number in limits.items()}

    return set_limits


def used_storage() -> int:
    """What the active tenant takes of disks at this moment, in bytes."""
    with connection.cursor() as cursor:
        return disk.database_bytes(cursor) + disk.file_bytes()


def day_of(ref: TenantRef) -> UsageDay | None:
    """What control has of a tenant's today."""
    with use_control():
        return UsageDay.objects.filter(tenant_id=ref.id, day=usage.today()).first()


def control_url() -> str:
    """The control database of this test run."""
    return os.environ["CONTROL_DATABASE_URL"]
