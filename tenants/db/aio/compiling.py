"""A queryset to SQL and, once somebody else has run that, rows to what the queryset is of. No connection is needed for either."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet
from django.db.utils import DEFAULT_DB_ALIAS

from tenants.unbound import base

Rows = list[tuple[Any, ...]]


class Dialect(base.DatabaseWrapper):
    """The wrapper that all tenants' SQL is compiled with. It knows Postgres and can't connect, so no round trip hides in it."""

    is_in_transaction: Callable[[], bool]

    def get_autocommit(self) -> bool:
        """Asked before FOR UPDATE, which has no effect outside of a transaction."""
        return not self.is_in_transaction()


@cache
def dialect() -> Dialect:
    """This process's one Dialect."""
    return Dialect(connections.settings[DEFAULT_DB_ALIAS], "dialect")


class Compiled:
    """A queryset's SQL, and the way back from its rows. `sql` is empty when no row can match and nothing needs to be asked."""

    def __init__(self, queryset: QuerySet[Any, Any]) -> None:
        if queryset._prefetch_related_lookups:  # type: ignore[attr-defined]
            raise ValueError(
                "prefetch_related() would ask behind the loop's back; fetch what is related by a query of its own."
            )
        self.alias: str = queryset.db
        self._queryset: Any = queryset._chain()  # type: ignore[attr-defined]
        query = self._queryset.query
        # Without an alias, so that what is compiled within it (a UNION) asks for no wrapper by name either.
        self._compiler: Any = dialect().ops.compiler(query.compiler)(query, dialect(), None, True)
        self.sql: str = ""
        self.params: tuple[Any, ...] = ()
        try:
            self.sql, self.params = self._compiler.as_sql()
        except EmptyResultSet:
            pass

    def results(self, rows: Rows) -> list[Any]:
        """What the queryset would have been iterated to: instances, or dictionaries, tuples and values."""
        if not self.sql:
            return []
        compiler = self._compiler

        def execute_sql(*args: Any, **kwargs: Any) -> list[Rows]:
            return [[row[: compiler.col_count] for row in rows] if compiler.has_extra_select else rows]

        def get_compiler(*args: Any, **kwargs: Any) -> Any:
            return compiler

        query = self._queryset.query
        compiler.execute_sql = execute_sql
        query.get_compiler = get_compiler
        try:
            return list(self._queryset._iterable_class(self._queryset))
        finally:
            # They are cycles: each query would leave some that only the garbage collector finds, which stops the loop for it.
            del compiler.execute_sql, query.get_compiler
