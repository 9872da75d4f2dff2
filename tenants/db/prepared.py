"""A queryset that is compiled once, and runs as a prepared statement from then on.

To build and compile a queryset costs several times as much as its query. For the few that every request runs it is done once:

    @prepared
    def _open_invitations(limit: int) -> QuerySet[Invitation]:
        return Invitation.objects.filter(email__lower=Param("email"), accepted_at=None)[:limit]

    _open_invitations(20).instances(email="grace@example.com")

Router, connection, tenancy and what looks at statements on their way are those of any queryset. Values never become part of the text:
they travel beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Generic, ParamSpec, TypeVar

import psycopg
from django.db import NotSupportedError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.query import get_related_populators
from psycopg.adapt import Loader
from psycopg.pq import Format

from tenants.db.connection import WatchedCursor
from tenants.db.handler import resolve

M = TypeVar("M", bound=Model)
P = ParamSpec("P")

# Runs of a text on one connection before its server is asked to keep it: psycopg's own default.
PREPARE_AFTER = 5
# Texts that a process keeps for one function: each combination of arguments is one.
MAX_TEXTS = 512


# Fields whose values are the same objects read from either format. Binary takes a third of the time.
_BINARY_FIELDS = frozenset(
    {"BigIntegerField", "BinaryField", "BooleanField", "CharField", "DateField", "DateTimeField", "EmailField", "IntegerField"}
    | {"JSONField", "PositiveIntegerField", "PositiveSmallIntegerField", "SlugField", "SmallIntegerField", "TextField", "UUIDField"}
)  # fmt: skip


_JSONB = psycopg.adapters.types["jsonb"].oid


class Param(Expression):
    """Stands in a queryset for the value that is given by this name when the statement runs."""

    def __init__(self, name: str, output_field: Field[Any, Any] | None = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        return "%s", [self]


class PreparedQuery(Generic[M]):
    """One text of SQL and how its rows are read. Made by `prepared`."""

    def __init__(self, queryset: QuerySet[M, Any]) -> None:
        self.model = queryset.model
        compiler = queryset.query.get_compiler(using=queryset.db)
        self.sql, params = compiler.as_sql()
        self._params = tuple(params)
        self._select: Any = compiler.select
        self._klass_info: Any = compiler.klass_info
        # The compiler itself isn't kept: it holds the connection of whoever came first.
        self._converters: Any = compiler.get_converters([column[0] for column in compiler.select])
        self._names = [*queryset.query.values_select, *queryset.query.annotation_select]
        columns = [column[0].output_field for column in compiler.select]
        self._format = Format.BINARY if all(map(_reads_binary, columns)) else Format.TEXT

    def dicts(self, *, using: str | None = None, **values: Any) -> list[dict[str, Any]]:
        """The rows of a queryset of `values()`. The database is the router's choice unless `using` names it."""
        names = self._names
        return [dict(zip(names, row, strict=True)) for row in self._rows(self._alias(using), values)]

    def instances(self, *, using: str | None = None, **values: Any) -> list[M]:
        """The rows as model instances, with those that `select_related` joins."""
        alias = self._alias(using)
        rows = self._rows(alias, values)
        if not rows:
            return []
        places = self._klass_info["select_fields"]
        own = slice(places[0], places[-1] + 1)
        names = [column[0].target.attname for column in self._select[own]]
        populators = get_related_populators(self._klass_info, self._select, alias)  # type: ignore[call-arg]  # the stubs are of a later Django
        found: list[M] = []
        for row in rows:
            instance = self.model.from_db(alias, names, row[own])
            for populator in populators:
                populator.populate(row, instance)
            found.append(instance)
        return found

    def _alias(self, using: str | None) -> str:
        return resolve(using) if using else router.db_for_read(self.model)

    def _rows(self, alias: str, values: dict[str, Any]) -> list[Any]:
        params = [values[param.name] if isinstance(param, Param) else param for param in self._params]
        wrapper: Any = connections[alias]
        try:
            rows = self._fetch(wrapper, params)
        except NotSupportedError:
            # "cached plan must not change result type": a migration has changed a column under a prepared statement.
            if wrapper.in_atomic_block:
                raise
            PreparingCursor(wrapper.connection).execute("DEALLOCATE ALL", prepare=False)
            rows = self._fetch(wrapper, params)
        return [self._converted(row, wrapper) for row in rows] if self._converters else rows

    def _converted(self, row: Any, wrapper: Any) -> Any:
        values = list(row)
        for place, (converters, expression) in self._converters.items():
            for converter in converters:
                values[place] = converter(values[place], expression, wrapper)
        return values

    def _fetch(self, wrapper: Any, params: list[Any]) -> list[Any]:
        wrapper.ensure_connection()
        native = PreparingCursor(wrapper.connection)
        native.format = self._format
        with wrapper._prepare_cursor(native) as cursor:
            cursor.execute(self.sql, params)
            rows: list[Any] = cursor.fetchall()
            return rows


class PreparingCursor(WatchedCursor, psycopg.Cursor[Any]):
    """psycopg's own cursor, which has the server keep what it runs often. Django's write values into the text, so theirs can't."""

    def __init__(self, connection: Any) -> None:
        if connection.adapters.get_loader(_JSONB, Format.BINARY) is not _JsonAsText:  # the first one on this connection
            connection.adapters.register_loader(_JSONB, _JsonAsText)
            connection.prepare_threshold = PREPARE_AFTER  # Django turns it off
        super().__init__(connection)


class _JsonAsText(Loader):
    """Binary jsonb as the text that Django's JSONField reads: it is that, after one byte of version."""

    format = Format.BINARY

    def load(self, data: Any) -> str:
        return bytes(data)[1:].decode()


def _reads_binary(field: Field[Any, Any]) -> bool:
    return field.get_internal_type() in _BINARY_FIELDS


def prepared(build: Callable[P, QuerySet[M, Any]]) -> Callable[P, PreparedQuery[M]]:
    """Keep the query of each combination of arguments, which must be few: what varies freely is a `Param`."""

    @lru_cache(MAX_TEXTS)
    def kept(*args: Any, **kwargs: Any) -> PreparedQuery[M]:
        return PreparedQuery(build(*args, **kwargs))

    @wraps(build)
    def compiled(*args: P.args, **kwargs: P.kwargs) -> PreparedQuery[M]:
        return kept(*args, **kwargs)  # type: ignore[arg-type]  # they must be hashable

    return compiled
