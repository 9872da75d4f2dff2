"""The idle connections of an async pool, in two orders: by when they were used last, and by whose they are."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from tenants.db.aio.connection import Connection


class Idle:
    """Idle connections by alias. Iterated from the one used least recently to the one used last."""

    def __init__(self) -> None:
        self._all: OrderedDict[Connection, str] = OrderedDict()
        self._by_alias: dict[str, deque[Connection]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._all)

    def add(self, connection: Connection, alias: str) -> None:
        self._all[connection] = alias
        self._by_alias.setdefault(alias, deque()).append(connection)

    def last_of(self, alias: str) -> Connection | None:
        """The connection of an alias that was used last, so that its others may age."""
        own = self._by_alias.get(alias)
        return own[-1] if own else None

    def remove(self, connection: Connection) -> Connection:
        alias = self._all.pop(connection)
        own = self._by_alias[alias]
        own.remove(connection)
        if not own:
            del self._by_alias[alias]
        return connection
