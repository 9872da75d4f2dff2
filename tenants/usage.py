"""What tenants use, counted where it happens: requests, and the seconds that their jobs run.

A count is an addition in this process's memory. A thread of its own (`start_flusher`) adds what has come together to control every few
seconds, in one statement for all tenants. While control is away the counts wait. A batch whose answer was lost is sent again under the same
number, and control takes each number of a process once: so what is counted is there once, whatever breaks. A process that is killed loses
what it has counted since its last flush: FLUSH_SECONDS of it, more while control is away. On SIGTERM it flushes before it ends.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from django.db import Error, connection
from psycopg import Error as PsycopgError

from tenants import clients, context, plan_limits
from tenants.errors import PlanLimitReached, TenantryError
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 5.0
END_SECONDS: Final = 3.0  # for the last flush of a process

# In the order of the rows' key, so that two processes can't wait for each other. What was counted of a tenant that is gone is dropped.
_FLUSH: Final = """
WITH mine AS (
    INSERT INTO tenants_usagewriter AS writer (id, number, flushed_at) VALUES (%(writer)s, %(number)s, now())
    ON CONFLICT (id) DO UPDATE SET number = excluded.number, flushed_at = now() WHERE writer.number < excluded.number
    RETURNING 1
), kept AS (
    INSERT INTO tenants_usageday AS usage (tenant_id, day, requests, job_seconds)
    SELECT sent.tenant, sent.day, sent.requests, sent.seconds
    FROM unnest(%(tenants)s::uuid[], %(days)s::date[], %(requests)s::bigint[], %(seconds)s::float8[])
        AS sent (tenant, day, requests, seconds)
    JOIN tenants_tenant ON tenants_tenant.id = sent.tenant
    WHERE EXISTS (SELECT FROM mine)
    ORDER BY sent.tenant, sent.day
    ON CONFLICT (tenant_id, day) DO UPDATE
    SET requests = usage.requests + excluded.requests, job_seconds = usage.job_seconds + excluded.job_seconds
    RETURNING tenant_id, day, requests, job_seconds
)
SELECT tenant_id, day, requests, job_seconds FROM kept
"""


@dataclass(slots=True)
class Counts:
    """Of one tenant on one day (of UTC)."""

    requests: int = 0
    job_seconds: float = 0.0

    def add(self, other: Counts) -> None:
        """Add another's numbers to these."""
        self.requests += other.requests
        self.job_seconds += other.job_seconds


Key = tuple[str, date]  # a tenant's id, and the day


@dataclass(slots=True)
class _Process:
    """What this process has counted. Everything in it is read and changed under `lock`, but for the flush itself."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    flushing: threading.Lock = field(default_factory=threading.Lock)
    writer: UUID = field(default_factory=uuid4)
    number: int = 0  # of the last batch
    waiting: dict[Key, Counts] = field(default_factory=dict)
    batch: dict[Key, Counts] = field(default_factory=dict)  # on its way to control, or to be sent again
    totals: dict[Key, Counts] = field(default_factory=dict)  # of all processes, as control answered the last flush
    failing: bool = False
    flusher: threading.Thread | None = None
    ending: threading.Event = field(default_factory=threading.Event)


_process = _Process()


def today() -> date:
    """The day of UTC by this process's clock."""
    return datetime.now(UTC).date()


def seconds_of_day_left() -> int:
    """Whole seconds until the next day of UTC begins, 1 at least."""
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return max(1, round((midnight - now).total_seconds()))


# --- Counting --------------------------------------------------------------------------------------------------------------


def count(ref: TenantRef, *, requests: int = 0, job_seconds: float = 0.0) -> None:
    """Add to what a tenant has used today. Costs no round trip, and never fails."""
    key, more = (ref.id, today()), Counts(requests, job_seconds)
    with _process.lock:
        _process.waiting.setdefault(key, Counts()).add(more)


def take_request(*, may_refuse: bool = True) -> None:
    """Count a request of somebody who may speak for the active tenant; in control nothing is counted.

    Raises PlanLimitReached (429) when the day's requests are used up, unless the request is one that is always served. What other
    processes have served in the last seconds isn't known here: so much more than the limit may be made.
    """
    ref = context.active()
    if not isinstance(ref, TenantRef):
        return
    limit = plan_limits.limit_of("requests", ref)
    if may_refuse and limit is not None and (used := known_today(ref).requests) >= limit:
        raise plan_limits.refused(PlanLimitReached.of_requests(ref.plan, limit, used, seconds_of_day_left()))
    count(ref, requests=1)


def known_today(ref: TenantRef) -> Counts:
    """What this process knows a tenant to have used today: of all as of its last flush, and of itself until now."""
    key, known = (ref.id, today()), Counts()
    with _process.lock:
        for counts in (_process.totals, _process.batch, _process.waiting):
            if key in counts:
                known.add(counts[key])
    return known


def not_flushed(ref: TenantRef) -> Counts:
    """What this process has counted of a tenant today, and control may not have yet."""
    key, known = (ref.id, today()), Counts()
    with _process.lock:
        for counts in (_process.batch, _process.waiting):
            if key in counts:
                known.add(counts[key])
    return known


# --- Flushing --------------------------------------------------------------------------------------------------------------


def flush() -> bool:
    """Add what has come together to control, in the caller's thread; whether nothing is left to be sent.

    While control is away it answers False, and the counts wait.
    """
    with _process.flushing:
        while True:
            with _process.lock:
                if not _process.batch:
                    if not _process.waiting:
                        return True
                    _process.batch, _process.waiting = _process.waiting, {}
                    _process.number += 1
            try:
                totals = _send(_process.batch, _process.number)
            except (Error, PsycopgError, TenantryError) as error:
                if not _process.failing:
                    log.warning("usage_waits", tenants=len(_process.batch), error=type(error).__name__)
                _process.failing = True
                return False
            with _process.lock:
                if _process.failing:
                    log.info("usage_flushed_again", tenants=len(_process.batch))
                now = today()
                for key in [key for key in _process.totals if key[1] != now]:
                    del _process.totals[key]
                for key, counts in _process.batch.items():  # of a batch that was taken before its answer was lost
                    if key[1] == now and key not in totals:
                        _process.totals.setdefault(key, Counts()).add(counts)
                _process.totals.update({key: counts for key, counts in totals.items() if key[1] == now})
                _process.batch, _process.failing = {}, False


def _send(batch: dict[Key, Counts], number: int) -> dict[Key, Counts]:
    keys = list(batch)
    facts: dict[str, Any] = {
        "writer": _process.writer,
        "number": number,
        "tenants": [UUID(tenant_id) for tenant_id, _ in keys],
        "days": [day for _, day in keys],
        "requests": [batch[key].requests for key in keys],
        "seconds": [batch[key].job_seconds for key in keys],
    }
    with context.use_control(), connection.cursor() as cursor:
        cursor.execute(_FLUSH, facts)
        return {(str(tenant), day): Counts(requests, seconds) for tenant, day, requests, seconds in cursor}


def start_flusher() -> None:
    """Flush every FLUSH_SECONDS in a thread of this process from now on, and what is left when the process ends."""
    with _process.lock:
        if _process.flusher is not None and _process.flusher.is_alive():
            return
        _process.ending = threading.Event()
        _process.flusher = threading.Thread(
            target=_flush_until, args=[_process.ending], name="usage-flusher", daemon=True
        )
    clients.before_end("usage", stop_flusher)
    _process.flusher.start()


def stop_flusher() -> None:
    """Have the thread flush what is left and end; wait for that, END_SECONDS at most. In a process without the thread nothing happens."""
    flusher = _process.flusher
    if flusher is not None:
        _process.ending.set()
        flusher.join(END_SECONDS)


def _flush_until(ending: threading.Event) -> None:
    while not ending.wait(FLUSH_SECONDS):
        _try_to_flush()
    until = time.monotonic() + END_SECONDS
    while not _try_to_flush() and time.monotonic() < until:  # control may come back meanwhile
        time.sleep(0.1)


def _try_to_flush() -> bool:
    try:
        return flush()
    except Exception:  # nobody would start the thread again; the batch is sent again under its number
        log.exception("usage_not_flushed")
        return False


def forget() -> None:
    """Begin anew, as another writer: what was counted and not flushed is its process's, the parent's after a fork."""
    global _process
    _process = _Process()


os.register_at_fork(after_in_child=forget)
