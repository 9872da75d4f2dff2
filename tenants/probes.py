"""Asking each part whether it works: async, side by side, each within a second, on connections of their own.

A probe never borrows from a pool: a full pool must not make a healthy server look dead, nor a probe hold what a tenant
waits for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from django.conf import settings
from django.utils.module_loading import import_string
from kombu.transport.redis import PRIORITY_STEPS, Channel
from psycopg.rows import tuple_row
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from tenants.db.urls import connection_arguments, database
from tenants.models import Replica, Server
from tenants.servers import control_endpoint

State = Literal["ok", "degraded", "down"]

PROBE_SECONDS = 0.9
_SERVERS = "SELECT name, encrypted_url FROM tenants_server ORDER BY name"
_REPLICAS = "SELECT server_id, name, encrypted_url FROM tenants_replica ORDER BY server_id, name"
_POSITION = """
    SELECT pg_is_in_recovery(),
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn
"""


@dataclass(slots=True)
class Part:
    """What a probe found. `facts` are for operators: latency in milliseconds, bytes of lag, messages in the queue."""

    name: str
    state: State
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, **self.facts}


@dataclass(frozen=True, slots=True)
class Report:
    """The parts, and what they add up to: `down` when the control database is, `degraded` when any other part is."""

    control: Part
    servers: list[Part] = field(default_factory=list)
    others: list[Part] = field(default_factory=list)

    @property
    def state(self) -> State:
        if self.control.state == "down":
            return "down"
        return "ok" if all(part.state == "ok" for part in (*self.servers, *self.others)) else "degraded"


async def probe_all() -> Report:
    """Ask everything: control first, since it knows the servers, beside what needs no server. Two seconds at most."""
    others = asyncio.gather(
        _probed("mongo", _mongo),
        _probed("valkey", lambda: _redis(settings.REDIS_URL)),
        _probed("broker", lambda: _redis(settings.CELERY_BROKER_URL, queue=settings.CELERY_TASK_DEFAULT_QUEUE)),
        *(_probed(name, import_string(path)) for name, path in settings.TENANTS_PROBES.items()),
    )
    registry: list[tuple[str, str, list[tuple[str, str]]]] = []

    async def control() -> dict[str, Any]:
        registry.extend(await _control())
        return {}

    found = await _probed("control", control)
    servers = await asyncio.gather(*(_server(name, url, replicas) for name, url, replicas in registry))
    return Report(control=found, servers=list(servers), others=list(await others))


async def _probed(name: str, ask: Callable[[], Awaitable[dict[str, Any]]]) -> Part:
    """What `ask` answers, within a second; `state` in the answer says that the part isn't quite well."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            facts = await ask()
    except Exception as error:  # whatever keeps a part from answering is the answer
        # Its class alone: messages name hosts and users.
        return Part(name, "down", {"error": type(error).__name__})
    state = facts.pop("state", "ok")
    return Part(name, state, {"latency_ms": round((time.perf_counter() - started) * 1000, 1), **facts})


async def _connect(parameters: dict[str, Any]) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    return await psycopg.AsyncConnection.connect(
        **{
            **connection_arguments(parameters),
            **parameters["OPTIONS"],
            "connect_timeout": 1,
            "application_name": "tenantry-health",
        },
        autocommit=True,
        row_factory=tuple_row,
    )


async def _control() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The registry's servers with their replicas, read without the ORM, which would take a thread."""
    primary = control_endpoint()
    there = {**settings.DATABASES["control"], "HOST": primary.host, "PORT": str(primary.port)}
    async with await _connect(there) as connection:
        servers = await (await connection.execute(_SERVERS)).fetchall()
        replicas = await (await connection.execute(_REPLICAS)).fetchall()
    urls: dict[str, list[tuple[str, str]]] = {name: [] for name, _ in servers}
    for server, name, url in replicas:
        urls[server].append((name, Replica(server_id=server, name=name, encrypted_url=url).url))
    return [(name, Server(name=name, encrypted_url=url).url, urls[name]) for name, url in servers]


async def _server(name: str, url: str, replicas: list[tuple[str, str]]) -> Part:
    """A primary and its replicas. A replica that is away, or isn't one, makes the server degraded; so does one that was promoted."""
    primary, *found = await asyncio.gather(
        _probed(name, lambda: _postgres(url)),
        *(_probed(replica, lambda url=url: _postgres(url)) for replica, url in replicas),  # type: ignore[misc]
    )
    position = primary.facts.pop("lsn", None)
    writes = primary.state == "ok" and not primary.facts.pop("in_recovery", False)
    for replica in found:
        replayed = replica.facts.pop("lsn", None)
        if not replica.facts.pop("in_recovery", True):
            if not writes and primary.state != "degraded":  # it was promoted, and serves in the primary's place
                primary.state, position = "degraded", None
                primary.facts["acting_primary"] = replica.name
                continue
            replica.state = "degraded"
            replica.facts["error"] = "not_in_recovery"
        elif position is not None and replayed is not None:
            replica.facts["lag_bytes"] = max(0, position - replayed)
    if not writes and primary.state != "degraded":  # it was demoted, and would refuse every write
        primary.state = "down"
        primary.facts.setdefault("error", "in_recovery")
    if primary.state == "ok" and any(replica.state != "ok" for replica in found):
        primary.state = "degraded"
    if found:
        primary.facts["replicas"] = [replica.as_dict() for replica in found]
    return primary


async def _postgres(url: str) -> dict[str, Any]:
    async with await _connect(database(url)) as connection:
        ((in_recovery, lsn),) = await (await connection.execute(_POSITION)).fetchall()
    return {"in_recovery": in_recovery, "lsn": None if lsn is None else int(lsn)}


async def _mongo() -> dict[str, Any]:
    milliseconds = round(PROBE_SECONDS * 1000)
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        settings.MONGO_URL,
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
        appname="tenantry-health",
    )
    try:
        await client.admin.command("ping")
    finally:
        await client.close()
    return {}


async def _redis(url: str, *, queue: str | None = None) -> dict[str, Any]:
    client: Redis = Redis.from_url(url, socket_connect_timeout=PROBE_SECONDS, socket_timeout=PROBE_SECONDS)
    try:
        if queue is None:
            await client.ping()
            return {}
        # A list for each priority, as kombu names them.
        lists = [f"{queue}{Channel.sep}{priority}" if priority else queue for priority in PRIORITY_STEPS]
        return {"queue_depth": sum([await client.llen(name) for name in lists])}
    finally:
        await client.aclose()
