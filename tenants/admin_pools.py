"""The operators' page of pools: what the connections of this machine's processes do now, at each endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

from tenants import metrics

UNITS = 100.0  # the width of a bar


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The pools of one kind of process at one endpoint, added up. Times are milliseconds, on average since the processes started."""

    pool: str
    process: str
    limit: int
    size: int
    idle: int
    waiting: int
    opened: int
    stolen: int
    lost: int
    refused: int
    mean_use: float
    mean_wait: float

    @property
    def in_use(self) -> int:
        """Connections that are lent, being opened or being closed."""
        return max(0, self.size - self.idle)

    @property
    def bar(self) -> dict[str, float]:
        """Where the parts of the bar begin and how wide they are, of UNITS."""
        unit = UNITS / max(self.limit, self.size, 1)
        return {"in_use": self.in_use * unit, "idle": self.idle * unit}

    @classmethod
    def of(cls, pool: str, process: str, numbers: dict[str, float]) -> PoolUse:
        """From psycopg_pool's keys."""
        count = {key: int(value) for key, value in numbers.items()}
        return cls(
            pool=pool,
            process=process,
            limit=count["pool_max"],
            size=count["pool_size"],
            idle=count["pool_available"],
            waiting=count["requests_waiting"],
            opened=count["connections_num"],
            stolen=count["connections_stolen"],
            lost=count["connections_lost"],
            refused=count["requests_errors"],
            mean_use=numbers["usage_ms"] / max(1, count["requests_num"]),
            mean_wait=numbers["requests_wait_ms"] / max(1, count["requests_queued"]),
        )


def pools() -> list[tuple[str, list[PoolUse]]]:
    """Each endpoint with its kinds of process, by name."""
    found = sorted(
        (PoolUse.of(pool, process, numbers) for (pool, process), numbers in metrics.pool_numbers().items()),
        key=lambda use: (use.pool, use.process),
    )
    return [(pool, list(uses)) for pool, uses in groupby(found, key=lambda use: use.pool)]


def page(request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
    """`/admin/pools/`."""
    return TemplateResponse(request, "admin/pools.html", {**context, "title": "Connection pools", "pools": pools()})
