"""Which reads may go to a replica, and what a reader must see there: what it wrote itself.

Off by default: everything is read from the primary. A GET or HEAD request, or a job that asks, opens a block in which reads go to a
replica that has replayed `after`. The first write pins the rest of the block to the primary: a row that was read from a replica and saved
again would revert other people's columns. The position of a write travels with the reader as a signed token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from django.core import signing
from django.db import DatabaseError, connections, transaction

from tenants import context
from tenants.db import replicas
from tenants.db.nodes import Position
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

SALT = "tenants.read-after"
# The name of the current segment begins with the timeline, in eight hexadecimal digits.
POSITION_SQL = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_walfile_name(lsn), pg_wal_lsn_diff(lsn, '0/0')::bigint
    FROM pg_current_wal_lsn() AS lsn
"""


@dataclass(slots=True)
class Reads:
    """The state of one block: whether a replica may serve, from where on, and whether something was written."""

    from_replica: bool = False
    after: Position | None = None
    wrote: bool = False


_reads: ContextVar[Reads | None] = ContextVar("tenants_reads", default=None)


@contextmanager
def reads_from_replica(after: str | None = None) -> Iterator[Reads]:
    """Let reads go to a replica that has replayed the token `after`. A token that can't be read means the primary."""
    try:
        position = parse_token(after) if after else None
    except signing.BadSignature:
        with reads_from_primary() as reads:
            yield reads
        return
    with _entered(Reads(from_replica=True, after=position)) as reads:
        yield reads


@contextmanager
def reads_from_primary() -> Iterator[Reads]:
    """Read from the primary alone; writes are noted all the same."""
    with _entered(Reads()) as reads:
        yield reads


@contextmanager
def _entered(reads: Reads) -> Iterator[Reads]:
    token = _reads.set(reads)
    try:
        yield reads
    finally:
        _reads.reset(token)


def note_write() -> None:
    """Called by the router when a write is routed: from here on the block reads from the primary."""
    reads = _reads.get()
    if reads is not None:
        reads.wrote = True


def replica_alias(ref: TenantRef) -> str | None:
    """The alias of the replica that serves the next read, or None for the primary."""
    reads = _reads.get()
    if reads is None or not reads.from_replica or reads.wrote:
        return None
    primary = connections._connections.__dict__.get(ref.alias)  # type: ignore[attr-defined]
    if primary is not None and primary.in_atomic_block:  # a transaction sees what it wrote, and nothing else does
        return None
    number = replicas.choose(ref, reads.after)
    return None if number is None else f"{ref.alias}@{number}"


@contextmanager
def bounded_cursor(seconds: float) -> Iterator[Any]:
    """A cursor for one read that may be long, in a transaction of its own; Postgres ends a statement after `seconds`.

    It reads where the active tenant's reads go: from a replica inside `reads_from_replica`, where one may serve.
    """
    ref = context.current()
    alias = (replica_alias(ref) if isinstance(ref, TenantRef) else None) or ref.alias
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{round(seconds * 1000)}"])
        yield cursor


def read_after() -> str | None:
    """A token for everything that this block has committed so far, or None when it wrote nothing. One round trip.

    Call it after the commit: the position is the primary's at the time of the call, which is at or after it.
    """
    reads = _reads.get()
    ref = context.active()
    if reads is None or not reads.wrote or not isinstance(ref, TenantRef):
        return None
    try:
        with connections[ref.alias].cursor() as cursor:
            cursor.execute(POSITION_SQL)
            cluster, segment, lsn = cursor.fetchone()
    except DatabaseError as error:  # the write is committed and must not be told as failed
        log.warning("read_after_unknown", error=type(error).__name__)
        return None
    return make_token(Position(cluster=cluster, timeline=int(segment[:8], 16), lsn=lsn))


def make_token(position: Position) -> str:
    """A position, signed with the active tenant's key: a token of one tenant says nothing in another."""
    return signing.Signer(salt=SALT).sign(f"{position.cluster}-{position.timeline}-{position.lsn:x}")


def parse_token(token: str) -> Position:
    """The position that a token holds. Raises django.core.signing.BadSignature."""
    return _position(signing.Signer(salt=SALT).unsign(token[:200]))


@lru_cache(maxsize=1024)
def _position(text: str) -> Position:
    cluster, timeline, lsn = text.split("-")
    return Position(cluster=cluster, timeline=int(timeline), lsn=int(lsn, 16))
