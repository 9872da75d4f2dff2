"""A queryset that is compiled once, and runs as a prepared statement from then on.

To build and compile a queryset costs several times as much as its query. For the few that every request runs it is done once:

    @statement
    def _open_invitations(limit: int) -> QuerySet[Invitation]:
        return Invitation.objects.filter(email__lower=Param("email"), accepted_at=None)[:limit]

    _open_invitations(20).instances(email="grace@example.com")

Router, pool and tenancy are those of any queryset. Values never become part of the text: they travel beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Generic, ParamSpec, TypeVar

import psycopg
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.query import get_related_populators
from psycopg import errors

from tenants.db.handler import resolve
from tenants.refs import owner_of

M = TypeVar("M", bound=Model)
P = ParamSpec("P")

# Runs of a text on one connection before its server is asked to keep it, as psycopg's own default. Django turns that off for its own
# cursors, which write values into the text.
PREPARE_AFTER = 5
# Texts that a process keeps for one function: each combination of arguments is one.
MAX_TEXTS = 512


class Param(Expression):
    """Stands in a queryset for the value that is given by this name when the statement runs."""

    def __init__(self, name: str, output_field: Field[Any, Any] | None = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
        return "%s", [self]


class Statement(Generic[M]):
    """One text of SQL and how its rows are read. Made by `statement`."""

    def __init__(self, queryset: QuerySet[M, Any]) -> None:
        self.model = queryset.model
        compiler = queryset.query.get_compiler(using=queryset.db)
        self.sql, params = compiler.as_sql()
        self._params = tuple(params)
        self._select: Any = compiler.select
        self._klass_info: Any = compiler.klass_info
        self._converters = compiler.get_converters([column[0] for column in compiler.select])
        self._apply = compiler.apply_converters
        self._names = [*queryset.query.values_select, *queryset.query.annotation_select]
        # Binary is read several times faster. Django reads what it converts itself, JSON for one, as text.
        self._binary = not self._converters

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
        columns = self._klass_info["select_fields"]
        own = slice(columns[0], columns[-1] + 1)
        names = [column[0].target.attname for column in self._select[own]]
        populators = get_related_populators(self._klass_info, self._select, alias)
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
        wrapper = connections[alias]
        try:
            rows = self._run(wrapper, params)
        except Exception as error:
            # A replica ends a query that is in the way of what it replays; the primary has the same rows.
            if alias == owner_of(alias) or not isinstance(error.__cause__, errors.SerializationFailure):
                raise
            wrapper = connections[owner_of(alias)]
            rows = self._run(wrapper, params)
        if self._converters:
            rows = list(self._apply(rows, self._converters))
        return rows

    def _run(self, wrapper: BaseDatabaseWrapper, params: list[Any]) -> list[Any]:
        if wrapper.execute_wrappers or wrapper.queries_logged:  # somebody looks on, and sees what Django's cursors do
            with wrapper.cursor() as cursor:
                cursor.execute(self.sql, params)
                return cursor.fetchall()
        wrapper.ensure_connection()
        wrapper.validate_no_broken_transaction()
        connection: Any = wrapper.connection
        if connection.prepare_threshold is None:
            connection.prepare_threshold = PREPARE_AFTER
        with wrapper.wrap_database_errors:
            native: Any = psycopg.Cursor(connection)
            try:
                native.execute(self.sql, params, binary=self._binary)
            except errors.FeatureNotSupported:
                # "cached plan must not change result type": a migration has changed a column under a prepared statement.
                if wrapper.in_atomic_block:
                    raise
                native.execute("DEALLOCATE ALL", prepare=False)
                native.execute(self.sql, params, binary=self._binary)
            rows: list[Any] = native.fetchall()
            return rows


def statement(build: Callable[P, QuerySet[M, Any]]) -> Callable[P, Statement[M]]:
    """Keep the statement of each combination of arguments, which must be few: what varies freely is a `Param`."""

    @lru_cache(MAX_TEXTS)
    def kept(*args: Any, **kwargs: Any) -> Statement[M]:
        return Statement(build(*args, **kwargs))

    @wraps(build)
    def compiled(*args: P.args, **kwargs: P.kwargs) -> Statement[M]:
        return kept(*args, **kwargs)

    return compiled
