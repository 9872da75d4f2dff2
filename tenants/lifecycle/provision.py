"""How a tenant is born: its row, its role, its database from the template, its first rows. All of it, or nothing.

The row comes first and reserves the slug; whoever is killed on the way leaves it in the state `provisioning`, by which
the reaper finds what to remove (tenants.lifecycle.reap).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar, overload

import psycopg
import structlog
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Count

from tenants import context, epochs
from tenants.db import pools
from tenants.errors import ProvisioningFailed, ServerUnavailable, SlugTaken
from tenants.ids import new_id
from tenants.lifecycle import offboard, postgres
from tenants.lifecycle.postgres import Administrator, administrator, execute
from tenants.lifecycle.slugs import slug_check
from tenants.lifecycle.template import OWNER, ensure_template, is_whole, template_name
from tenants.models import Server, Tenant
from tenants.refs import TenantRef
from tenants.signals import tenant_state_changed

log = structlog.get_logger(__name__)

T = TypeVar("T")


@overload
def provision_tenant(*, slug: str, name: str, plan: str = ..., server: str | None = ...) -> tuple[TenantRef, None]: ...
@overload
def provision_tenant(
    *, slug: str, name: str, plan: str = ..., server: str | None = ..., populate: Callable[[], T]
) -> tuple[TenantRef, T]: ...
def provision_tenant(
    *,
    slug: str,
    name: str,
    plan: str = Tenant.Plan.FREE,
    server: str | None = None,
    populate: Callable[[], T] | None = None,
) -> tuple[TenantRef, T | None]:
    """Make a tenant on `server` (default: the open one with the fewest tenants) and return it with what `populate` returned.

    `populate` writes the tenant's first rows: it runs inside the tenant, in one transaction, before anybody else can reach it.

    Raises SlugInvalid, SlugReserved, SlugTaken, ProvisioningFailed, and whatever `populate` raises; nothing of the tenant is left then.
    Refused inside an open `atomic()`, as any durable transaction is.
    """
    started = time.monotonic()
    with context.use_control():
        slug_check(slug)
        home = _choose_server(server, slug=slug)
        password = secrets.token_urlsafe(32)
        tenant = _new_tenant(slug=slug, name=name, plan=plan, server=home, password=password)
        with ExitStack() as stack:
            with _step(slug, "connecting to the server"):
                admin = stack.enter_context(administrator(home))
            stack.enter_context(postgres.tenant_lock(admin, tenant_id=tenant.pk, slug=slug))
            _reserve(tenant)
            try:
                _make_database(admin, tenant, password)
                result = _populate(tenant, populate)
                _activate(tenant)
            except BaseException:
                _undo(admin, tenant)
                raise
    log.info(
        "tenant_provisioned", tenant=slug, server=home.name, duration_ms=round((time.monotonic() - started) * 1000)
    )
    return tenant.ref(), result


def _choose_server(name: str | None, *, slug: str) -> Server:
    servers = (
        Server.objects.filter(is_open=True).annotate(tenant_count=Count("tenants")).order_by("tenant_count", "name")
    )
    server = servers.filter(pk=name).first() if name else servers.first()
    if server is None:
        raise ProvisioningFailed(slug=slug, step="finding a server that is open for new tenants")
    return server


def _new_tenant(*, slug: str, name: str, plan: str, server: Server, password: str) -> Tenant:
    tenant_id = new_id()
    own_name = f"tenantry_t_{tenant_id.hex}"
    tenant = Tenant(id=tenant_id, slug=slug, name=name, plan=plan, server=server, database=own_name, role=own_name)
    tenant.set_password(password)
    return tenant


def _reserve(tenant: Tenant) -> None:
    """Write the row. Of two who want the same slug at once, the unique constraint lets one through."""
    try:
        with transaction.atomic(durable=True):
            tenant.save(force_insert=True)
    except IntegrityError:
        raise SlugTaken(tenant.slug) from None


def _make_database(admin: Administrator, tenant: Tenant, password: str) -> None:
    with _step(tenant.slug, "making the database role"):
        postgres.role_create(admin, tenant.role)
        postgres.role_let_in(admin, tenant.role, password)
    with _step(tenant.slug, "copying the template"):
        _copy_template(admin, tenant)
    with _step(tenant.slug, "handing the database over"):
        postgres.database_reserve(admin, tenant.database, tenant.role)
        with administrator(tenant.server, dbname=tenant.database) as inside:
            execute(inside, "REASSIGN OWNED BY {} TO {}", OWNER, tenant.role)


def _copy_template(admin: Administrator, tenant: Tenant) -> None:
    """Copy the template that the registry names. One that is missing is built first: a new server, or one that lost it."""
    for _ in range(2):
        tenant.schema_version = Server.objects.values_list("template_version", flat=True).get(pk=tenant.server_id)
        template = template_name(tenant.schema_version)
        if not tenant.schema_version or not is_whole(admin, template):
            ensure_template(tenant.server)
            continue
        try:
            # By way of the WAL: copying files takes two checkpoints of the whole server, which a busy one pays dearly for.
            execute(admin, "CREATE DATABASE {} TEMPLATE {} STRATEGY WAL_LOG", tenant.database, template)
        except psycopg.errors.InvalidCatalogName:  # a newer one took its place in between
            continue
        return
    raise ProvisioningFailed(slug=tenant.slug, step="finding a template")


def _populate(tenant: Tenant, populate: Callable[[], T] | None) -> T | None:
    if populate is None:
        return None
    with context.use(tenant.ref()), transaction.atomic():
        return populate()


def _activate(tenant: Tenant) -> None:
    """Let the tenant be found, unless the reaper gave it up in between."""
    with _step(tenant.slug, "entering it into the registry"), transaction.atomic():
        waiting = Tenant.objects.filter(pk=tenant.pk, state=Tenant.State.PROVISIONING)
        if not waiting.update(state=Tenant.State.ACTIVE, schema_version=tenant.schema_version):
            raise ProvisioningFailed(slug=tenant.slug, step="entering it into the registry")
        tenant.state = Tenant.State.ACTIVE
        tenant_state_changed.send(sender=Tenant, tenant=tenant, former=Tenant.State.PROVISIONING)
    epochs.publish(str(tenant.pk), tenant.epoch)


def _undo(admin: Administrator, tenant: Tenant) -> None:
    """Remove what there is. What can't be removed now stays marked for the reaper."""
    pools.forget_tenant(tenant.ref().alias)
    try:
        Tenant.objects.filter(pk=tenant.pk).update(state=Tenant.State.DELETING)
        offboard.remove(admin, tenant)
    except Exception as error:
        log.error(
            "tenant_undo_failed", tenant=tenant.slug, error=type(error).__name__, reason=postgres.first_line(error)
        )


@contextmanager
def _step(slug: str, step: str) -> Iterator[None]:
    """Name what was being done when Postgres refused."""
    try:
        yield
    except (psycopg.Error, DatabaseError, ServerUnavailable) as error:
        log.warning(
            "tenant_provision_failed",
            tenant=slug,
            step=step,
            error=type(error).__name__,
            reason=postgres.first_line(error),
        )
        raise ProvisioningFailed(slug=slug, step=step) from error
