"""What an async pool keeps books of: where a connection leads, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tenants.db.aio.connection import Connection


class AsyncRoute(Protocol):
    """Where a connection leads: `alias` decides who may reuse it, `owner` whose cap it counts against (None: nobody's)."""

    @property
    def alias(self) -> str: ...
    @property
    def owner(self) -> str | None: ...
    async def connect(self) -> Connection: ...


@dataclass(slots=True, eq=False)
class Loan:
    """What the pool knows of a connection that it made. Times are monotonic, in seconds."""

    alias: str
    owner: str | None
    expires_at: float
    is_lent: bool = False
    lent_at: float = 0.0
    idle_since: float = 0.0
