"""What Django lets pass from one database into another, refused; and the word `default`, which must not be remembered.

An object remembers the alias of its owner. Django compares it where objects are related, but not in `filter(fk=obj)`,
`update(fk=obj)`, `bulk_create`, `bulk_update`, `save(using=…)`, `delete(using=…)` and the removal from a many-to-many relation: these
are guarded here, each at the one place that all its forms go through.

`using("default")`, `db_manager("default")` and `save(using="default")` would put the word into objects and into the ContentType cache,
where it meant whoever is active next: it becomes the active tenant's alias as soon as it is said. An object that was read from
a replica counts as one of the primary.

A model that lives in control too (a user) may be pointed at by one that doesn't (a note of a team's own app): what is deleted in
control doesn't look for rows in tables that control hasn't got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.db.models import Model, QuerySet, deletion
from django.db.models.base import ModelState
from django.db.models.fields import related, related_lookups
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet
from django.db.utils import DEFAULT_DB_ALIAS

from tenants import context
from tenants.db.handler import resolve
from tenants.errors import NoTenant
from tenants.refs import is_owned, owner_of


def install() -> None:
    """Put the guards in place. Called once, before any model is imported."""
    if isinstance(ModelState.__dict__["db"], _OwnerOfObject):
        return
    patch: Any = setattr
    patch(ModelState, "db", _OwnerOfObject())
    for queryset in (QuerySet, RawQuerySet):
        patch(queryset, "using", _resolving_using(queryset.using))
    for owner in (QuerySet, RawQuerySet, BaseManager):
        patch(owner, "db", property(_resolving_db(owner.__dict__["db"].fget)))
    patch(QuerySet, "bulk_create", _checking_objects(QuerySet.bulk_create))
    patch(QuerySet, "bulk_update", _checking_objects(QuerySet.bulk_update))
    patch(Model, "save_base", _checking_self(Model.save_base))
    patch(Model, "delete", _checking_self(Model.delete))
    patch(Model, "prepare_database_save", _checking_self(Model.prepare_database_save))
    patch(related_lookups, "get_normalized_value", _checking_value(related_lookups.get_normalized_value))
    patch(
        related.ForeignObject,
        "get_foreign_related_value",
        _checking_related(related.ForeignObject.get_foreign_related_value),
    )
    patch(
        deletion,
        "get_candidate_relations_to_delete",
        _with_tables_here(deletion.get_candidate_relations_to_delete),
    )


class _OwnerOfObject:
    """`_state.db`: the alias of the owner's primary, whatever name the object was reached by."""

    def __get__(self, state: ModelState | None, owner: type[ModelState] | None = None) -> Any:
        return None if state is None else state.__dict__.get("db")

    def __set__(self, state: ModelState, alias: str | None) -> None:
        state.__dict__["db"] = None if alias is None else owner_of(resolve(alias))


def _check(instance: Model, alias: str | None = None) -> None:
    """Raise CrossTenant, or NoTenant, when an object is used elsewhere than where it comes from."""
    if not is_owned(instance._state.db):
        return
    from tenants.router import TenantRouter, check_owner

    if alias is None:
        ref = context.active()
        if ref is None:
            raise NoTenant(f"A {instance._meta.label} object")
        # An object of the registry, or of another engine, may be used from anywhere.
        # `type()` would be SimpleLazyObject for `request.user`; `__class__` is the model for that too.
        alias = TenantRouter()._alias(instance.__class__, None)
    check_owner(instance, resolve(alias))


def _resolving_using(using: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(using)
    def resolving(self: Any, alias: str | None) -> Any:
        return using(self, resolve(alias) if alias else alias)

    return resolving


def _resolving_db(db: Callable[[Any], str]) -> Callable[[Any], str]:
    @wraps(db)
    def resolving(self: Any) -> str:
        alias = db(self)
        return resolve(alias) if alias == DEFAULT_DB_ALIAS else alias

    return resolving


def _checking_objects(bulk: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(bulk)
    def checking(self: Any, objs: Iterable[Model], *args: Any, **kwargs: Any) -> Any:
        objs = list(objs)
        for instance in objs:
            _check(instance)
        return bulk(self, objs, *args, **kwargs)

    return checking


def _checking_self(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def checking(self: Model, *args: Any, **kwargs: Any) -> Any:
        _check(self, kwargs.get("using"))
        return method(self, *args, **kwargs)

    return checking


def _checking_value(normalize: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(normalize)
    def checking(value: Any, lhs: Any) -> Any:
        if isinstance(value, Model):
            _check(value)
        return normalize(value, lhs)

    return checking


def _checking_related(get_value: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(get_value)
    def checking(self: Any, instance: Model) -> Any:
        if context.active() is not None:
            _check(instance)
        return get_value(self, instance)

    return checking


def _with_tables_here(candidates: Callable[..., Iterable[Any]]) -> Callable[..., Iterable[Any]]:
    @wraps(candidates)
    def living_here(opts: Any) -> Iterable[Any]:
        relations = candidates(opts)
        if context.active() is None:
            return relations
        from tenants.router import TenantRouter

        router = TenantRouter()
        alias = router._alias(opts.model, None)
        if not is_owned(alias):
            return relations
        return (
            relation
            for relation in relations
            if router.allow_migrate(alias, relation.related_model._meta.app_label, model=relation.related_model)
        )

    return living_here
