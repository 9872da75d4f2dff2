"""What a pool keeps books of: its numbers, who has how much of it, and what became of each connection and each borrower in the line."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

from tenants.db.connection import Connection


class Route(Protocol):
    """Where a connection leads: `alias` decides who may reuse it, `owner` who may close it (None: nobody, and no cap counts)."""

    @property
    def alias(self) -> str: ...
    @property
    def owner(self) -> str | None: ...
    def connect(self) -> Connection: ...


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """A pool's numbers; times in seconds."""

    max_size: int = 20
    max_per_tenant: int = 20
    max_waiting: int = 100
    max_waiting_per_tenant: int = 1
    timeout: float = 5.0
    tenant_timeout: float = 1.0
    max_idle: float = 300.0
    max_lifetime: float = 3600.0


def cap_of(limits: PoolLimits, max_size: int) -> int:
    """How many connections one tenant may run in a pool of that size by now: its part of the pool, and one at least."""
    part = max_size * limits.max_per_tenant // max(1, limits.max_size)
    return min(limits.max_per_tenant, max(1, part))


@dataclass(slots=True, eq=False)
class Share:
    """What one alias has of the pool. It exists while one of its numbers isn't nought, so a tenant that is away costs nothing."""

    route: Route
    idle: list[Connection] = field(default_factory=list)  # the one used last at the end
    lent: int = 0  # to borrowers, or being opened by them
    opening: int = 0  # for the line
    waiting: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.idle or self.lent or self.opening or self.waiting)


@dataclass(slots=True, eq=False)
class Loan:
    """What the pool knows of a connection that it made. Times are monotonic, in seconds."""

    share: Share
    expires_at: float
    max_idle: float
    lent_at: float = 0.0  # 0 while it isn't lent
    idle_since: float = 0.0


@dataclass(slots=True, eq=False)
class Place:
    """The right to open one connection, having closed what stands there."""

    share: Share
    former: Connection | None = None


@dataclass(slots=True, eq=False)
class Waiter:
    """Who waits in the line, and what ends that: a connection, a place to open one, or an error."""

    share: Share
    outcome: Connection | Place | BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)


def do_nothing() -> None:
    """There is nothing to ask for more."""
