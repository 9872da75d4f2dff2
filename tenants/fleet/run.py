"""A migration run: every tenant to this code's schema, one after the other, where one that fails stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tenants import context, epochs
from tenants.fleet.plan import LIVE, plan
from tenants.lifecycle import postgres, schema
from tenants.lifecycle.postgres import administrator
from tenants.models import Server, Tenant
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

# Seconds to wait for another run that is at the same tenant.
LOCK_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one tenant. `error` is a sentence, or empty when it is at the wanted version."""

    slug: str
    seconds: float
    error: str = ""


def run(on_progress: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Migrate each tenant that isn't at this code's schema, as its own role, and tell of each as it is done.

    Killed or failed, it is simply run again: what is done is not in the next plan. Two runs at once take turns at a tenant.
    """
    version = schema.schema_version()
    outcomes: dict[str, Outcome] = {}
    # Planned anew until nothing is new: a tenant that was in the making may have come from the former template.
    while todo := [ref for ref in plan(version) if ref.id not in outcomes]:
        for ref in todo:
            outcome = outcomes[ref.id] = _migrate(ref, version)
            if on_progress is not None:
                on_progress(outcome)
    return list(outcomes.values())


def _migrate(ref: TenantRef, version: str) -> Outcome:
    started = time.monotonic()
    error = ""
    try:
        with context.use_control():
            _migrate_locked(ref, version)
    except Exception as failure:  # whatever a migration raises is this tenant's, and the others go on
        log.error("tenant_migration_failed", tenant=ref.slug, error=type(failure).__name__, exc_info=failure)
        error = f"{type(failure).__name__}: {postgres.first_line(failure)}"
    return Outcome(slug=ref.slug, seconds=round(time.monotonic() - started, 3), error=error)


def _migrate_locked(ref: TenantRef, version: str) -> None:
    with (
        administrator(Server.objects.get(pk=ref.server)) as admin,
        postgres.tenant_lock(admin, tenant_id=ref.id, slug=ref.slug, timeout=LOCK_TIMEOUT),
    ):
        tenant = Tenant.objects.filter(pk=ref.id, state__in=LIVE).first()
        if tenant is None or tenant.schema_version == version:  # deleted, or done by another run in the meantime
            return
        with context.use(tenant.ref()):
            schema.migrate()
        Tenant.objects.filter(pk=ref.id).update(schema_version=version)
        epochs.publish(ref.id, tenant.epoch)
