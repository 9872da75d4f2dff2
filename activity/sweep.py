"""Which databases were written to since a relay last found their outbox empty: one query for each server, whatever the number of tenants.

Postgres counts the rows inserted into each database. A relay reads its database's count, empties the outbox, and notes that count as
clean. A count that differs means that something was written since, perhaps an event; so a hint that was lost, or a relay that was killed,
costs one more sweep. Counts are only compared for being equal: they start anew when Postgres recovers from a crash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

import psycopg
import redis
import structlog
from django.db import connection

from tenants.cache import key
from tenants.context import current, use_control
from tenants.errors import ServerUnavailable
from tenants.lifecycle.postgres import administrator
from tenants.models import Server, Tenant
from tenants.refs import CONTROL, Ref, TenantRef
from tenants.valkey import redis_client

log = structlog.get_logger(__name__)

_COUNTS: Final = "SELECT datname, tup_inserted FROM pg_stat_database WHERE datname IS NOT NULL"


def writes_here() -> int:
    """The count of the active tenant's database, or of control."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tup_inserted FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def remember_clean(writes: int) -> None:
    """Note that the active tenant's outbox was empty at this count. Without Valkey it isn't noted, and is looked at again."""
    field = _field(current())
    try:
        redis_client().hset(_key(), field, str(writes))
    except redis.RedisError as error:
        log.warning("sweep_note_lost", error=type(error).__name__)


def forget(ref: Ref) -> None:
    """Drop the note on a tenant that is deleted."""
    try:
        redis_client().hdel(_key(), _field(ref))
    except redis.RedisError as error:
        log.warning("sweep_note_lost", error=type(error).__name__)


@dataclass(frozen=True, slots=True)
class Unclean:
    """Whose outbox may hold something: an active tenant's, or control's. `rows` were inserted into its database since it was clean."""

    id: str
    rows: int


def unclean() -> Iterator[Unclean]:
    """The active tenants, and control, whose outbox may hold something. To be called in control."""
    clean = _clean()
    here, field = writes_here(), _field(CONTROL)
    if clean.get(field) != str(here):
        yield Unclean(CONTROL.id, _since(clean.get(field), here))
    for server in Server.objects.all():
        try:
            with administrator(server) as admin:
                counts = admin.execute(_COUNTS).fetchall()
        except (ServerUnavailable, psycopg.OperationalError) as error:
            log.warning("sweep_skipped", server=server.name, error=type(error).__name__)
            continue
        notes = {name: clean.get(f"{server.name}/{name}") for name, _ in counts}
        changed = {name: _since(notes[name], writes) for name, writes in counts if notes[name] != str(writes)}
        tenants = Tenant.objects.filter(server=server, database__in=changed, state=Tenant.State.ACTIVE)
        for tenant_id, database in tenants.values_list("id", "database"):
            yield Unclean(str(tenant_id), changed[database])


def _since(clean: str | None, writes: int) -> int:
    """The rows inserted since the note was made: all of them without one, or when Postgres has begun to count anew."""
    return writes - int(clean) if clean is not None and int(clean) <= writes else writes


def _clean() -> dict[str, str]:
    """The counts that were noted; none without Valkey."""
    try:
        noted = cast(dict[bytes, bytes], redis_client().hgetall(_key()))
    except redis.RedisError as error:
        log.warning("sweep_note_lost", error=type(error).__name__)
        return {}
    return {field.decode(): writes.decode() for field, writes in noted.items()}


def _field(ref: Ref) -> str:
    return f"{ref.server}/{ref.database}" if isinstance(ref, TenantRef) else ref.id


def _key() -> str:
    """One hash for all, so it is control's."""
    with use_control():
        return key("activity:clean")
