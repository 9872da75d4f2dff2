"""The organisation's own settings, changed by its members."""

from __future__ import annotations

from django.db import transaction

from accounts import events
from accounts.validation import clean_name
from activity import outbox
from tenants import directory, epochs
from tenants.context import current_tenant
from tenants.models import Tenant
from tenants.refs import TenantRef


def tenant_update(*, name: str) -> TenantRef:
    """Rename the active organisation. Raises InvalidField."""
    ref = current_tenant()
    name = clean_name(name, required=True)
    if name == ref.name:
        return ref
    with transaction.atomic():
        outbox.record(events.TenantUpdated.of(ref, changes={"name": [ref.name, name]}))
        # The registry is in another database. It is written last: if that fails, the event is rolled back with us.
        Tenant.objects.filter(pk=ref.id).update(name=name)
    epochs.publish(ref.id, ref.epoch)
    return directory.by_id(ref.id)
