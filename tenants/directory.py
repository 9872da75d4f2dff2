"""Host, slug or id to tenant, from the registry, remembered for settings.DIRECTORY_TTL seconds.

A change of a tenant (suspended, moved, renamed) reaches each process within that time; tenants.epochs tells of it sooner.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from tenants import context, epochs
from tenants.db import pools
from tenants.db.handler import release_unless_active
from tenants.db.prepared import Param, prepared
from tenants.errors import TenantNotFound
from tenants.models import Domain, Tenant
from tenants.refs import TenantRef

# How many look-ups a process remembers, unknown hosts included: they must not fill its memory.
MAX_ENTRIES = 20_000

_entries: OrderedDict[tuple[str, str], tuple[TenantRef | None, float]] = OrderedDict()
_lock = threading.Lock()
_changes = 0


def by_host(host: str) -> TenantRef:
    """The tenant that a host belongs to: `<slug>.<base domain>`, or a verified domain. `host` is lower case, without port."""
    label, dot, domain = host.partition(".")
    if dot and domain == settings.BASE_DOMAIN:
        return by_slug(label)
    return _find("host", host)


def by_slug(slug: str) -> TenantRef:
    """The tenant of that slug. Raises TenantNotFound, also for one that is on its way in or out."""
    return _find("slug", slug)


def by_id(tenant_id: str) -> TenantRef:
    """The tenant of that id. Raises TenantNotFound."""
    try:
        UUID(tenant_id)
    except ValueError:
        raise TenantNotFound(by="id", value=tenant_id) from None
    return _find("id", tenant_id)


def active_aliases(tenant_ids: Collection[str]) -> set[str]:
    """The aliases of now of those of the tenants that are active: one query to the registry, for what lasts longer than a request."""
    with context.use_control():
        found = Tenant.objects.filter(pk__in=tenant_ids, state=Tenant.State.ACTIVE)
        return {tenant.ref().alias for tenant in found}


def forget(tenant_id: str) -> None:
    """Read this tenant anew when it is next asked for."""
    global _changes
    with _lock:
        _changes += 1
        for key in [key for key, (ref, _) in _entries.items() if ref is None or ref.id == tenant_id]:
            del _entries[key]


def forget_all() -> None:
    """Read every tenant anew."""
    with _lock:
        _entries.clear()


def _find(by: str, value: str) -> TenantRef:
    key = (by, value)
    entry = _entries.get(key)
    if entry is None or time.monotonic() - entry[1] > settings.DIRECTORY_TTL:
        # Two threads may both read; that is cheaper than to make every thread wait for one that waits for the database.
        epochs.listen()
        read_at, changes = time.monotonic(), _changes
        ref = _load(by, value)
        if entry is not None and entry[0] is not None and (ref is None or ref.alias != entry[0].alias):
            pools.forget_tenant(entry[0].alias)
        entry = (ref, read_at)
        with _lock:
            if changes != _changes:  # what was read may be older than a change that was heard of meanwhile
                entry = (ref, 0.0)
            _entries[key] = entry
            _entries.move_to_end(key)
            while len(_entries) > MAX_ENTRIES:
                _entries.popitem(last=False)
    if entry[0] is None:
        raise TenantNotFound(by=by, value=value)
    return entry[0]


def _load(by: str, value: str) -> TenantRef | None:
    try:
        found = _served(by).instances(value=value)
        return found[0].ref() if found else None
    finally:
        release_unless_active("control")


@prepared
def _served(by: str) -> QuerySet[Tenant]:
    value = Param("value")
    if by == "host":
        its_domain = Domain.objects.filter(host__iexact=value, is_verified=True)
        found = Tenant.objects.filter(pk__in=its_domain.values("tenant"))
    else:
        found = Tenant.objects.filter(slug=value) if by == "slug" else Tenant.objects.filter(pk=value)
    return found.filter(state__in=(Tenant.State.ACTIVE, Tenant.State.SUSPENDED))


epochs.on_change(forget)
