"""The outboxes in which events wait, as the last look at them found: for metrics, `/ready`, alarms and who sends events in.

One process looks, every few seconds, at those tenants alone that were written to since a relay found their outbox empty, and keeps what
it found in Valkey, where every process reads it. An idle fleet costs the look two queries, whatever its size.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
import redis
import structlog
from django.conf import settings
from django.db import DatabaseError
from redis.asyncio import Redis

from activity.backlog import Backlog, give_back, measure, worth_a_vacuum
from activity.sweep import Unclean, unclean
from tenants import context, directory
from tenants.errors import TenantryError
from tenants.refs import CONTROL, Ref, TenantRef
from tenants.valkey import redis_client

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = structlog.get_logger(__name__)

# Outboxes of one look, those first whose databases were written to most; so the metrics have no more series than these.
LOOKED_AT: Final = 100
WAITS: Final = 5.0  # seconds; what has waited for less is on its way
KEPT_FOR: Final = 60  # seconds
_KEY: Final = f"{CONTROL.id}:activity:backlogs"  # as tenants.cache.key makes it in control
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: the outboxes that have a backlog, and the alarms, `alarm` or `full`, by whose they are."""

    backlogs: list[Backlog] = field(default_factory=list)
    alarms: dict[str, str] = field(default_factory=dict)

    def is_full(self, ref: Ref) -> bool:
        """Whether the server of this tenant has so much waiting that its disk is in danger."""
        return self.alarms.get(f"server {_server_of(ref)}") == "full"


# --- Looking ---------------------------------------------------------------------------------------------------------------


def watch() -> Look:
    """Look at the outboxes that may have a backlog, keep what was found, and log each alarm that begins or ends. Called in control."""
    former = last_look() or Look()
    refs = _to_look_at(former)
    found = [backlog for backlog in map(_measured, refs) if backlog is not None and _is_backlog(backlog)]
    look = Look(found, _alarms(found))
    _keep(look)
    for owner in look.alarms.keys() | former.alarms.keys():
        before, now = former.alarms.get(owner), look.alarms.get(owner)
        if now and now != before:
            log.warning("outbox_alarm", owner=owner, level=now, bytes=_bytes_of(owner, found))
        elif before and not now:
            log.info("outbox_alarm_over", owner=owner)
    return look


def _to_look_at(former: Look) -> list[Ref]:
    """Those with a backlog at the last look, until it is gone, and those that were written to most since they were clean."""
    named = [backlog.owner for backlog in former.backlogs]
    most: list[Unclean] = heapq.nlargest(LOOKED_AT, unclean(), key=attrgetter("rows"))
    refs: dict[str, Ref] = {}
    for ask, name in [*((directory.by_slug, name) for name in named), *((directory.by_id, each.id) for each in most)]:
        try:
            ref: Ref = CONTROL if name == CONTROL.id else ask(name)
        except TenantryError:  # it is gone
            continue
        refs.setdefault(ref.id, ref)
    return list(refs.values())[:LOOKED_AT]


def _measured(ref: Ref) -> Backlog | None:
    try:
        with context.use(ref):
            backlog = measure(owner=ref.slug, server=_server_of(ref))
            give_back(backlog)
    except (DatabaseError, TenantryError) as error:
        log.warning("outbox_not_measured", tenant=ref.slug, error=type(error).__name__)
        return None
    return backlog


def _is_backlog(backlog: Backlog) -> bool:
    """Whether it is to be told of, and looked at again: also where nothing waits any more, but the disk isn't given back yet."""
    return (backlog.pending > 0 and backlog.oldest_seconds >= WAITS) or backlog.bytes >= worth_a_vacuum()


def _server_of(ref: Ref) -> str:
    return ref.server if isinstance(ref, TenantRef) else CONTROL.slug


# --- Alarms ----------------------------------------------------------------------------------------------------------------


def _alarms(found: list[Backlog]) -> dict[str, str]:
    """The level of each tenant and each server that has one."""
    limits = (settings.OUTBOX_ALARM_MB, settings.OUTBOX_FULL_MB)
    server_limits = (settings.OUTBOX_SERVER_ALARM_MB, settings.OUTBOX_SERVER_FULL_MB)
    levels = {f"tenant {backlog.owner}": level(backlog.bytes, *limits) for backlog in found}
    for server in {backlog.server for backlog in found}:
        owner = f"server {server}"
        levels[owner] = level(_bytes_of(owner, found), *server_limits)
    return {owner: reached for owner, reached in levels.items() if reached}


def level(size: int, alarm_mb: int, full_mb: int) -> str:
    """`full`, `alarm` or nothing for a size in bytes."""
    if size >= full_mb * _MIB:
        return "full"
    return "alarm" if size >= alarm_mb * _MIB else ""


def _bytes_of(owner: str, found: list[Backlog]) -> int:
    kind, _, name = owner.partition(" ")
    return sum(each.bytes for each in found if name == (each.owner if kind == "tenant" else each.server))


# --- Keeping and telling ---------------------------------------------------------------------------------------------------


def _keep(look: Look) -> None:
    try:
        redis_client().set(_KEY, orjson.dumps(asdict(look)), ex=KEPT_FOR)
    except redis.RedisError as error:
        log.warning("backlogs_not_kept", error=type(error).__name__)


def last_look() -> Look | None:
    """What the last look found; None when that was long ago, or without Valkey."""
    try:
        return _read(redis_client().get(_KEY))
    except redis.RedisError as error:
        log.warning("backlogs_not_known", error=type(error).__name__)
        return None


def _read(kept: Any) -> Look | None:
    if not kept:
        return None
    found = cast(Mapping[str, Any], orjson.loads(kept))
    return Look([Backlog(**each) for each in found["backlogs"]], found["alarms"])


async def probe() -> dict[str, Any]:
    """The part `outbox` of `/ready`: degraded while there is an alarm."""
    client: Redis = Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.4, socket_timeout=0.4)
    try:
        look = _read(await client.get(_KEY))
    except redis.RedisError:
        look = None  # Valkey is a part of its own
    finally:
        await client.aclose()
    if look is None:
        return {"backlogs": None, "alarms": {}}
    worst = sorted(look.backlogs, key=attrgetter("bytes"), reverse=True)[:10]
    state = {"state": "degraded"} if look.alarms else {}
    return {**state, "backlogs": len(look.backlogs), "worst": [asdict(each) for each in worst], "alarms": look.alarms}


def families() -> Iterator[Metric]:
    """What waits, for `/metrics`: a series for each outbox with a backlog, LOOKED_AT at most."""
    from prometheus_client.metrics_core import GaugeMetricFamily  # not before tenants.metrics has said where numbers go

    look = last_look()
    if look is None:
        return
    pending = GaugeMetricFamily("tenantry_outbox_pending", "Events that wait in the outbox.", labels=["tenant"])
    oldest = GaugeMetricFamily("tenantry_outbox_oldest_seconds", "How long the oldest waits.", labels=["tenant"])
    size = GaugeMetricFamily("tenantry_outbox_bytes", "Disk that the outbox takes.", labels=["tenant", "server"])
    alarm = GaugeMetricFamily(
        "tenantry_outbox_alarm", "1 when OUTBOX_ALARM_MB is reached, 2 when OUTBOX_FULL_MB is.", labels=["kind", "name"]
    )
    for each in look.backlogs:
        pending.add_metric([each.owner], each.pending)
        oldest.add_metric([each.owner], each.oldest_seconds)
        size.add_metric([each.owner, each.server], each.bytes)
    for owner, reached in look.alarms.items():
        alarm.add_metric(owner.split(" ", 1), 2.0 if reached == "full" else 1.0)
    yield from (pending, oldest, size, alarm)
