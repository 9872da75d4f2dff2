"""The organisation's own settings, changed by its members."""

from __future__ import annotations

from django.db import transaction

from accounts import events
from accounts.errors import InvalidField
from accounts.validation import clean_name
from activity import outbox
from activity.schedules.services import schedules_follow
from tenants import directory, epochs, time_zones
from tenants.context import current_tenant
from tenants.refs import TenantRef


def tenant_update(*, name: str | None = None, time_zone: str | None = None) -> TenantRef:
    """Rename the active organisation, or give it another time zone, which its schedules follow. Raises InvalidField."""
    ref = current_tenant()
    former = {"name": ref.name, "time_zone": time_zones.of_tenant(ref)}
    wanted = {
        "name": ref.name if name is None else clean_name(name, required=True),
        "time_zone": former["time_zone"] if time_zone is None else _clean_time_zone(time_zone),
    }
    changes = {field: [former[field], value] for field, value in wanted.items() if former[field] != value}
    if not changes:
        return ref
    with transaction.atomic():
        outbox.record(events.TenantUpdated.of(ref, changes=changes))
        if "time_zone" in changes:
            schedules_follow(wanted["time_zone"])
        # The registry is in another database. It is written last: if that fails, all of this is rolled back with us.
        time_zones.update_tenant(ref, **{field: wanted[field] for field in changes})
    epochs.publish(ref.id, ref.epoch)
    return directory.by_id(ref.id)


def _clean_time_zone(name: str) -> str:
    if name not in time_zones.known():
        raise InvalidField("time_zone", "Use the name of a time zone, such as Europe/Berlin.")
    return name
