"""What an alias means: `default` is the primary of whoever is active, and nothing else.

Installed in the place of Django's handler (`django.db.connections`), so that a bare `atomic()`, `connection.cursor()` or `on_commit()` in
any app acts on the right database. Tenant aliases are never in settings.DATABASES: a thread knows those that it has open.

    default               the active tenant's primary, or control; with neither, an engine that refuses to connect
    control, mongo        as in settings.DATABASES
    t:<id>:<epoch>        a tenant's primary: only while that tenant is active, at that epoch
    <alias>@<number>      a replica of the same
"""

from __future__ import annotations

import os
import threading
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DEFAULT_DB_ALIAS, ConnectionHandler

from tenants import context
from tenants.errors import CrossTenant, NoTenant
from tenants.refs import owner_of


class TenantConnectionHandler(ConnectionHandler):
    """Resolves aliases against the active tenant. One set of wrappers for each thread, as in Django."""

    # A plain thread-local, set by install(). Django's own also tells the coroutines of a thread apart, at a cost for each
    # query, though its ORM refuses to run in a coroutine at all.
    _connections: threading.local

    def __getitem__(self, alias: str) -> BaseDatabaseWrapper:
        ref = context.active()
        if alias == DEFAULT_DB_ALIAS:
            if ref is not None:
                alias = ref.alias
        elif alias.startswith("t:"):
            if ref is None:
                raise NoTenant(f"The database alias {alias!r}")
            if owner_of(alias) != ref.alias:
                raise CrossTenant(
                    what=f"The database alias {alias!r}", belongs_to="another tenant or epoch", used_in=str(ref)
                )
        open_here = self._connections.__dict__
        wrapper = open_here.get(alias)
        if wrapper is None:
            wrapper = open_here[alias] = self.create_connection(alias)
        return wrapper

    def create_connection(self, alias: str) -> BaseDatabaseWrapper:
        if not alias.startswith("t:"):
            if alias not in self.settings:
                raise self.exception_class(f"The connection {alias!r} doesn't exist.")
            return super().create_connection(alias)
        ref = context.current_tenant()
        from tenants.db.tenant import tenant_wrapper

        return tenant_wrapper(ref, alias)

    def __setitem__(self, alias: str, wrapper: BaseDatabaseWrapper) -> None:
        self._connections.__dict__[resolve(alias)] = wrapper

    def __delitem__(self, alias: str) -> None:
        del self._connections.__dict__[resolve(alias)]

    def all(self, initialized_only: bool = False) -> list[BaseDatabaseWrapper]:
        """The wrappers that this thread has open; with `initialized_only=False` those of the settings besides."""
        open_here = self._connections.__dict__
        if not initialized_only:
            return [self[alias] for alias in self]
        return list(open_here.values())

    def has_open_transaction(self, alias: str) -> bool:
        """Whether a wrapper of this owner is inside an `atomic()` of this thread; those of a TestCase don't count."""
        return any(
            owner_of(key) == alias and any(not block._from_testcase for block in wrapper.atomic_blocks)
            for key, wrapper in self._connections.__dict__.items()
            if wrapper.in_atomic_block
        )

    def release(self, alias: str) -> None:
        """Give the connections of this owner back to their pools and forget the wrappers, but for those that a TestCase holds."""
        open_here = self._connections.__dict__
        for key in [key for key in open_here if owner_of(key) == alias]:
            wrapper = open_here[key]
            if wrapper.in_atomic_block and all(block._from_testcase for block in wrapper.atomic_blocks):
                continue
            del open_here[key]
            if wrapper.connection is not None:  # in an event loop there is never one, and Django refuses to close there
                wrapper.close()


def resolve(alias: str) -> str:
    """The alias that `default` stands for now; any other one as it is."""
    if alias == DEFAULT_DB_ALIAS:
        ref = context.active()
        if ref is not None:
            return ref.alias
    return alias


def release_unless_active(alias: str) -> None:
    """Give control's connection back after a look-up made from inside a tenant, so that no thread holds two for long."""
    ref = context.active()
    handler: Any = connections
    if (ref is None or ref.alias != alias) and not handler.has_open_transaction(alias):
        handler.release(alias)


def install() -> None:
    """Make `django.db.connections` a TenantConnectionHandler. Other modules hold that object, so its class changes in place."""
    handler: Any = connections
    if isinstance(handler, TenantConnectionHandler):
        return
    handler.__class__ = TenantConnectionHandler
    handler._connections = threading.local()
    context.set_connection_hooks(has_open_transaction=handler.has_open_transaction, release=handler.release)
    os.register_at_fork(after_in_child=_forget_inherited)


_inherited: list[object] = []


def _forget_inherited() -> None:
    """A forked child leaves its parent's connections alone: it neither uses nor closes them."""
    handler: Any = connections
    _inherited.append(dict(handler._connections.__dict__))
    handler._connections = threading.local()
