"""The columns of an audited model, by their attributes, and what an object has in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import deepcopy
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models


def columns(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if not getattr(field, "generated", False)]


def told_of(model: type[models.Model], ignored: Collection[str]) -> list[models.Field[Any, Any]]:
    """Those that events tell of. When an object was last saved is what the events' own moments say."""
    return [field for field in columns(model) if field.name not in ignored and not getattr(field, "auto_now", False)]


def attnames_of(model: type[models.Model], names: Iterable[str]) -> list[str]:
    wanted = set(names)
    return [field.attname for field in columns(model) if field.name in wanted or field.attname in wanted]


def written_by(instance: models.Model, update_fields: Iterable[str] | None) -> list[str]:
    """What a save writes besides the key: of a deferred field nothing."""
    model = type(instance)
    names = [field.attname for field in columns(model)] if update_fields is None else attnames_of(model, update_fields)
    return [name for name in names if name in instance.__dict__ and name != model._meta.pk.attname]


def values_of(instance: models.Model, attnames: Collection[str] | None = None) -> dict[str, Any]:
    """What an object has in these columns (or all) that are loaded, as the database will give it back; not what it computes."""
    here = instance.__dict__
    return {
        field.attname: own(_as_python(field, here[field.attname]))
        for field in columns(type(instance))
        if field.attname in here
        and (attnames is None or field.attname in attnames)
        and not hasattr(here[field.attname], "resolve_expression")
    }


def _as_python(field: models.Field[Any, Any], value: Any) -> Any:
    """`"5"` in a number's field is 5."""
    try:
        return field.to_python(value) if isinstance(value, (str, float, int)) else value
    except ValidationError:
        return value


def own(value: Any) -> Any:
    """A value that no one changes from outside."""
    return deepcopy(value) if isinstance(value, (dict, list, set, bytearray)) else value
