"""Time zones by their IANA names, and the one that an organisation lives by.

It is not in TenantRef, which is read at each request: what plans by it asks the registry.
"""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import available_timezones

from django.db import transaction
from django.db.models.functions import Now

from tenants.db.handler import release_unless_active
from tenants.models import JobSchedule, Tenant
from tenants.refs import CONTROL, TenantRef


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """The names that may be used. Systems' own names for what a machine is set to mean something else on the next machine."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


@lru_cache(maxsize=1)
def offered() -> tuple[str, ...]:
    """The names to choose from: places, and UTC. What is left out are other names of the same zones."""
    regions = {
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Europe",
        "Indian",
        "Pacific",
    }
    return ("UTC", *sorted(name for name in known() if name.partition("/")[0] in regions and "/" in name))


def choices(*first: str) -> list[tuple[str, str]]:
    """Those that are offered, as forms take them and people read them, behind `first`, which are there whatever they are."""
    return [(name, name.replace("_", " ")) for name in dict.fromkeys([*first, *offered()])]


def of_tenant(ref: TenantRef) -> str:
    """The name of an organisation's time zone. Raises Tenant.DoesNotExist, and django.db.DatabaseError."""
    try:
        return Tenant.objects.values_list("time_zone", flat=True).get(pk=ref.id)
    finally:
        release_unless_active(CONTROL.alias)


def update_tenant(ref: TenantRef, **changed: str) -> None:
    """Write what has changed of what an organisation says of itself (`name`, `time_zone`), and have its schedules looked after at once
    when that is the time zone.

    In one commit. Raises django.db.DatabaseError.
    """
    with transaction.atomic(using=CONTROL.alias):
        Tenant.objects.filter(pk=ref.id).update(**changed)
        if "time_zone" in changed:
            JobSchedule.objects.filter(tenant_id=ref.id).update(due_at=Now())
