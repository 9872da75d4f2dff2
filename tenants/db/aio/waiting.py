"""Who waits for a connection of an async pool: in the line, or for one that is on its way. Both know who was cancelled meanwhile.

A future that was cancelled is done at once, while its task learns of it when the loop comes to it: until then it is in here, and
must be given nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from tenants.db.aio.books import AsyncRoute
from tenants.db.aio.connection import Connection


@dataclass(slots=True, eq=False)
class Waiter:
    """A borrower that waits; `number` is its place in the order of arrival."""

    route: AsyncRoute
    number: int
    ready: asyncio.Future[Connection]
    is_capped: bool = False


class Line:
    """First come, first served; by owner, so that one at its cap is passed over at once, however many it has waiting."""

    def __init__(self) -> None:
        self._by_owner: dict[str | None, deque[Waiter]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def of(self, owner: str | None) -> int:
        """How many of one owner wait."""
        return len(self._by_owner.get(owner, ()))

    def join(self, waiter: Waiter) -> None:
        self._by_owner.setdefault(waiter.route.owner, deque()).append(waiter)
        self._length += 1

    def leave(self, waiter: Waiter) -> bool:
        """Whether the waiter was in the line, where it isn't any more."""
        own = self._by_owner.get(waiter.route.owner)
        if own is None or waiter not in own:
            return False
        own.remove(waiter)
        self._length -= 1
        if not own:
            del self._by_owner[waiter.route.owner]
        return True

    def first(self, is_capped: Callable[[str | None], bool]) -> Waiter | None:
        """Whose turn it is: the one that came first, of the owners below their cap."""
        while True:
            first = [own[0] for owner, own in self._by_owner.items() if not is_capped(owner)]
            waiter = min(first, key=lambda each: each.number, default=None)
            if waiter is None or not waiter.ready.done():
                return waiter
            self.leave(waiter)

    def all(self) -> list[Waiter]:
        return [waiter for own in self._by_owner.values() for waiter in own]


class OnTheWay:
    """By alias, how many connections are coming, and the borrowers who await one: any of them takes what comes first."""

    def __init__(self) -> None:
        self._coming: Counter[str] = Counter()
        self._awaiting: dict[str, deque[Waiter]] = {}

    def expect(self, alias: str) -> None:
        """One more is coming."""
        self._coming[alias] += 1

    def arrived(self, alias: str) -> None:
        """One has come, or never will."""
        self._coming[alias] -= 1
        if not self._coming[alias]:
            del self._coming[alias]

    def has_spare(self, alias: str) -> bool:
        """Whether one is coming that nobody awaits, as its borrower left or was served by another."""
        return self._coming[alias] > len(self._awaiting.get(alias, ()))

    def short_of(self, alias: str) -> Waiter | None:
        """The first of those who await one when fewer are coming than are awaited."""
        awaiting = self._awaiting.get(alias, ())
        return awaiting[0] if awaiting and len(awaiting) > self._coming[alias] else None

    def join(self, waiter: Waiter) -> None:
        self._awaiting.setdefault(waiter.route.alias, deque()).append(waiter)

    def leave(self, waiter: Waiter) -> bool:
        """Whether the waiter awaited one, which it doesn't any more."""
        own = self._awaiting.get(waiter.route.alias)
        if own is None or waiter not in own:
            return False
        own.remove(waiter)
        if not own:
            del self._awaiting[waiter.route.alias]
        return True

    def first(self, alias: str) -> Waiter | None:
        """The one that awaits a connection for the longest, cancelled or not."""
        own = self._awaiting.get(alias)
        return own[0] if own else None

    def all(self) -> list[Waiter]:
        return [waiter for own in self._awaiting.values() for waiter in own]

    @property
    def is_empty(self) -> bool:
        return not self._coming and not self._awaiting
