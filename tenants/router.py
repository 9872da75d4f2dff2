"""Model and context to alias: a pure answer, with no I/O.

The model decides the database. The registry (settings.CONTROL_APPS) lives in control. Apps of settings.SHARED_APPS live in both: the
operators and sessions of the control host in control, members and theirs in their tenant. Every other app lives in the tenants'
databases alone.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Model

from tenants import context, reads
from tenants.db.handler import resolve
from tenants.errors import CrossTenant, NoTenant
from tenants.refs import CONTROL, TenantRef, owner_of

# Who someone is and what they may do is read from the primary: rights that ended must not live on in a replica's lag.
PRIMARY_APPS = {"account", "admin", "auth", "contenttypes", "mfa", "sessions"}


class TenantRouter:
    """Django's database router. Raises NoTenant rather than name a database that nobody asked for."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The primary's alias, or a replica's where tenants.reads allows it."""
        alias = self._alias(model, hints.get("instance"))
        ref = context.active()
        if isinstance(ref, TenantRef) and alias == ref.alias and not reads_from_primary_only(model):
            return reads.replica_alias(ref) or alias
        return alias

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """The primary's alias. The rest of the block reads from the primary too."""
        alias = self._alias(model, hints.get("instance"))
        if alias.startswith("t:"):
            reads.note_write()
        return alias

    def _alias(self, model: type[Model], instance: Model | None) -> str:
        fixed = getattr(model, "database", None)  # a model of another engine names its alias itself
        if isinstance(fixed, str):
            return fixed
        app = model._meta.app_label
        if app in settings.CONTROL_APPS:
            return CONTROL.alias
        ref = context.active()
        if ref is None or (ref is CONTROL and app not in settings.SHARED_APPS):
            raise NoTenant(model._meta.label)
        if instance is not None:
            check_owner(instance, ref.alias)
        return ref.alias

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool:
        """Objects of one owner may be related; a replica's count as their primary's."""
        return owner_of(obj1._state.db or "") == owner_of(obj2._state.db or "")

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Which tables a database gets. Models of another engine get none."""
        alias = resolve(db)
        model = hints.get("model")
        if model is not None and isinstance(getattr(model, "database", None), str):
            return False
        if alias == CONTROL.alias:
            return app_label in settings.CONTROL_APPS or app_label in settings.SHARED_APPS
        return alias.startswith("t:") and app_label not in settings.CONTROL_APPS


def reads_from_primary_only(model: type[Model]) -> bool:
    """Whether a model is about identity or rights: by its app, or by `reads_from_primary = True` on the model."""
    return model._meta.app_label in PRIMARY_APPS or bool(getattr(model, "reads_from_primary", False))


def check_owner(instance: Model, alias: str) -> None:
    """Raise CrossTenant when `instance` was loaded from, or saved to, another owner's database than that of `alias`."""
    origin = instance._state.db
    if origin is not None and owner_of(origin) != owner_of(alias):
        raise CrossTenant(what=f"A {instance._meta.label} object", belongs_to=origin, used_in=alias)
