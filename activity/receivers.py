"""What activity does when something happens to a tenant."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from activity import log, sweep
from tenants import subject_keys
from tenants.refs import TenantRef
from tenants.signals import tenant_deleted


@receiver(tenant_deleted, dispatch_uid="activity.log_purge")
def log_purge(*, tenant: TenantRef, **_: Any) -> None:
    """The log of a deleted tenant goes with it, and the keys of the people in it.

    Raises LogUnavailable, and the deletion is finished when MongoDB is back.
    """
    log.purge(tenant)
    subject_keys.forget_owner(tenant)
    sweep.forget(tenant)
