"""Schedules of acme, made due at will."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from accounts.models import User
from accounts.recording import recording_as
from activity.jobs.models import Job
from activity.models import OutboxEvent
from activity.personal import reveal
from activity.schedules import services
from activity.schedules.dispatch import dispatch_due
from activity.schedules.models import Schedule
from tenants.context import use_control, use_tenant
from tenants.models import JobSchedule
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    Api,
    ApiOf,
    admin,
    api,
    member,
    owner,
    quick_passwords,
    stranger,
    viewer,
)
from tests.accounts.pages.conftest import SignedIn, anonymous, signed_in  # noqa: F401  fixtures
from tests.activity.conftest import lasting_tenant  # noqa: F401  fixture
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture

DAILY = {"every": "day", "at": "07:00"}


def make(by: User, **facts: Any) -> Schedule:
    """A schedule of the active tenant, made by that member."""
    with recording_as(by, source="api"):
        return services.schedule_create(**{"name": "Nightly", "kind": "members.export", **DAILY, **facts})


def make_due(*, ago: timedelta = timedelta(seconds=1)) -> None:
    """As if the time of all schedules of the active tenant had come so long ago."""
    Schedule.objects.filter(is_paused=False).update(next_at=Now() - ago)


def dispatched(ref: TenantRef) -> int:
    """What the task does."""
    return dispatch_due(ref)


def row(ref: TenantRef) -> JobSchedule | None:
    """The tenant's row in control."""
    with use_control():
        return JobSchedule.objects.filter(tenant_id=ref.id).first()


def events_of(ref: TenantRef, prefix: str = "schedule.") -> list[dict[str, Any]]:
    """What was recorded with such a name, in its order."""
    with use_tenant(ref):
        found = OutboxEvent.objects.filter(document__action__startswith=prefix).order_by("id")
        return reveal(ref, found.values_list("document", flat=True))


def jobs() -> list[Job]:
    """The jobs of the active tenant, oldest first."""
    return list(Job.objects.order_by("created_at", "id"))
