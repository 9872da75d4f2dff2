"""How the processes share a server's connections: leases in the control database, so that adding processes can't exhaust it.

Each pool of each process has a lease: a row that says how many connections it may open. Who renews one locks the endpoint's row, adds up
what the others hold, and takes no more than is left, so the sum never exceeds the server's limit less the reserve. What is left goes
to whoever asks; a process that holds more than its fair part gives way when another one wants for less than its own.

A lease counts while the session lives through which it was renewed, and for EXPIRES_AFTER seconds after its last renewal: Postgres
itself knows both. A process that was killed is forgotten within that time. One that was stopped keeps what it has, for its connections are
still there. Who renews in vain for LAPSES_AFTER seconds falls back to one connection, before others may take what it had.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg import AsyncConnection

RENEW_INTERVAL = 2.0  # seconds
LAPSES_AFTER = 10.0
EXPIRES_AFTER = 15.0
# Connections that a pool asks for beyond what it uses, so that not each one waits for a renewal.
HEADROOM = 2
# With fewer than so many a pool serves no second request while one runs: at control's server one is the session that renews.
MIN_EACH = 3

# Rows in the order of their key, so that two processes never wait for each other.
LOCK = """
    SELECT endpoint, server_limit FROM tenants_serverbudget WHERE endpoint = ANY(%s) ORDER BY endpoint FOR UPDATE
"""
ADD_BUDGET = "INSERT INTO tenants_serverbudget (endpoint) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
SET_LIMIT = "UPDATE tenants_serverbudget SET server_limit = %s WHERE endpoint = %s"
HELD = """
    SELECT budget_id, holder, size, wanted,
           renewed_at < clock_timestamp() - make_interval(secs => %s) AND NOT EXISTS (
               SELECT FROM pg_stat_get_activity(backend) AS session WHERE session.backend_start = lease.backend_start
           )
    FROM tenants_lease AS lease WHERE budget_id = ANY(%s)
"""
RENEW = """
    INSERT INTO tenants_lease (budget_id, holder, process, size, wanted, backend, backend_start, renewed_at)
    SELECT %s, %s, %s, %s, %s, pid, backend_start, clock_timestamp() FROM pg_stat_get_activity(pg_backend_pid())
    ON CONFLICT (budget_id, holder) DO UPDATE
    SET size = excluded.size, wanted = excluded.wanted, backend = excluded.backend,
        backend_start = excluded.backend_start, renewed_at = excluded.renewed_at
"""
GIVE_BACK = "DELETE FROM tenants_lease WHERE holder = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a pool holds of an endpoint's budget, and what its borrowers could use; in connections."""

    size: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Asking:
    """A lease to renew: whose, where, what it has, and the most that it would take."""

    endpoint: str
    holder: UUID
    process: str
    has: Holding
    most: int
    open: int  # connections that exist now and can't be given back before they are returned
    server_limit: int  # as the pool knows it; 0: not known
    besides: int = 0  # sessions of the process that no pool has: the one through which leases are renewed


def grant(capacity: int, has: Holding, others: Iterable[Holding], most: int) -> int:
    """How many connections a pool may hold from now on.

    Never more than the others leave. Of that, as many as it asks for, unless somebody has less than a fair part and wants more:
    then what is beyond its own fair part is left for them.
    """
    others = list(others)
    fair = capacity // (len(others) + 1)
    left = capacity - sum(other.size for other in others)
    claimed = sum(max(other.size, min(other.wanted, fair)) for other in others)
    entitled = max(min(has.wanted, fair), capacity - claimed)
    return max(0, min(most, entitled, left))


def complaint(*, limit: int, leased: int, holders: int, most: int) -> str:
    """What is wrong with a server's limit, for whoever can change it; empty when nothing is.

    `limit` is what the server gives to ordinary roles, `most` what the pool of one process may hold, `holders` how many pools there are.
    """
    capacity = limit - settings.POOL_RESERVE
    if capacity < 1:
        return (
            f"Raise max_connections or lower POOL_RESERVE ({settings.POOL_RESERVE}): nothing is left for the processes."
        )
    if leased > capacity:
        return f"Raise max_connections by {leased - capacity}: the processes hold more than it leaves them now."
    if capacity < MIN_EACH * holders:
        return (
            f"Raise max_connections by {MIN_EACH * holders - capacity}: {holders} pools get fewer than {MIN_EACH} each."
        )
    if most > capacity:
        return f"Lower POOL_MAX to {capacity} or raise max_connections: no process can ever have its {most}."
    return ""


async def renew(connection: AsyncConnection[Any], askings: list[Asking]) -> dict[UUID, int]:
    """Renew these leases in one transaction; how many connections each pool may hold from now on, by holder."""
    endpoints = sorted({asking.endpoint for asking in askings})
    granted: dict[UUID, int] = {}
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(LOCK, [endpoints])
        limits: dict[str, int | None] = dict(await cursor.fetchall())
        if len(limits) < len(endpoints):
            await cursor.execute(ADD_BUDGET, [endpoints])
            await cursor.execute(LOCK, [endpoints])
            limits = dict(await cursor.fetchall())
        await cursor.execute(HELD, [EXPIRES_AFTER, endpoints])
        held: dict[str, dict[UUID, Holding]] = {endpoint: {} for endpoint in endpoints}
        expired = []
        for endpoint, holder, size, wanted, is_expired in await cursor.fetchall():
            if is_expired:
                expired.append(holder)
            else:
                held[endpoint][holder] = Holding(size, wanted)
        if expired:
            await cursor.execute(GIVE_BACK, [expired])
        for asking in askings:
            limit = limits[asking.endpoint]
            if asking.server_limit and asking.server_limit != limit:
                await cursor.execute(SET_LIMIT, [asking.server_limit, asking.endpoint])
                limit = limits[asking.endpoint] = asking.server_limit
            here = held[asking.endpoint]
            here.pop(asking.holder, None)
            if limit is None:
                size = 1  # whoever opens the first connection learns the limit
            else:
                capacity = max(0, limit - settings.POOL_RESERVE)
                most = asking.most + asking.besides
                size = max(0, grant(capacity, asking.has, here.values(), most) - asking.besides)
            granted[asking.holder] = size
            # Who gets less than it had holds it until the next renewal: only then does its pool keep to less. And what is lent
            # is held until it is returned.
            holding = Holding(
                max(size + asking.besides, asking.open + asking.besides, asking.has.size), asking.has.wanted
            )
            here[asking.holder] = holding
            await cursor.execute(RENEW, [asking.endpoint, asking.holder, asking.process, holding.size, holding.wanted])
    return granted


async def give_back(connection: AsyncConnection[Any], holders: list[UUID]) -> None:
    """End these leases: their connections are closed."""
    await connection.execute(GIVE_BACK, [holders])
