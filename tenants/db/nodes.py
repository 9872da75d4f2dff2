"""A node is one Postgres of a server, primary or not: where it is, what it said last, and how far its log goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg.conninfo import make_conninfo

from tenants.db.options import NETWORK_OPTIONS, application_name
from tenants.db.pools import Endpoint

# What the control database's server is known by; no server of the registry can have this name.
CONTROL_SERVER = "@control"
# Seconds. A sample that is older says nothing, so a node that hangs is left by itself.
MAX_AGE = 2.0

# A primary's timeline stands in the name of its current segment, in eight hexadecimal digits. A replica's is that of its stream; one
# without a stream has stopped following.
SAMPLE_SQL: LiteralString = """
    SELECT pg_is_in_recovery(),
           (SELECT system_identifier::text FROM pg_control_system()),
           CASE WHEN pg_is_in_recovery() THEN stream.received_tli
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
           pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, '0/0')::bigint,
           greatest(0, pg_wal_lsn_diff(stream.latest_end_lsn, pg_last_wal_replay_lsn()))::bigint
    FROM (SELECT) AS this LEFT JOIN pg_stat_wal_receiver AS stream ON stream.status = 'streaming'
"""


@dataclass(frozen=True, slots=True)
class Node:
    """A Postgres that may be, or become, the primary of its server. `conninfo` is for the monitor and holds a password."""

    endpoint: Endpoint
    conninfo: str = field(repr=False)

    @classmethod
    def of(cls, endpoint: Endpoint, parsed: dict[str, Any]) -> Node:
        """A node at `endpoint`, looked at as the user of a URL that tenants.db.urls parsed."""
        options = {**NETWORK_OPTIONS, **dict(endpoint.options), "application_name": application_name("monitor")}
        conninfo = make_conninfo(
            host=endpoint.host, port=endpoint.port, dbname=parsed["NAME"], user=parsed["USER"],
            password=parsed["PASSWORD"], **options,
        )  # fmt: skip
        return cls(endpoint, conninfo)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a cluster's write-ahead log: comparable within one cluster and timeline alone. `lsn` in bytes."""

    cluster: str
    timeline: int
    lsn: int

    def covers(self, other: Position) -> bool:
        """Whether who is here has seen what was written up to `other`. Another timeline counts as unknown."""
        return self.cluster == other.cluster and self.timeline == other.timeline and self.lsn >= other.lsn


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node said when it was last asked.

    `position` is a lower bound of where it is by now, and None while it doesn't answer or, as a replica, doesn't stream. The role and
    the timeline outlive an answer: they are the last known ones. `sampled_at` is monotonic; `error` is empty after an answer.
    """

    endpoint: Endpoint
    in_recovery: bool | None = None
    cluster: str = ""
    timeline: int = 0
    position: Position | None = None
    lag_bytes: int | None = None
    sampled_at: float = 0.0
    error: str = "not asked yet"

    @property
    def replica(self) -> str:
        """The node's name within its server."""
        return self.endpoint.name.rpartition("/")[2]

    @property
    def server(self) -> str:
        """The server's name, which a node's begins with."""
        return self.endpoint.name.partition("/")[0]

    @property
    def healthy(self) -> bool:
        """Whether its position is known, and not too old to be told from one that hangs."""
        return self.position is not None and time.monotonic() - self.sampled_at <= MAX_AGE

    @property
    def takes_writes(self) -> bool:
        """Whether it said, when it was last asked, that it is a primary."""
        return not self.error and self.in_recovery is False


def state_from(endpoint: Endpoint, row: tuple[Any, ...], *, former: NodeState, asked_at: float) -> NodeState:
    """The state that the answer to SAMPLE_SQL tells. `asked_at`: before the question, since what is known can only be older."""
    in_recovery, cluster, timeline, lsn, lag = row
    position = None if timeline is None or lsn is None else Position(cluster=cluster, timeline=timeline, lsn=lsn)
    return NodeState(
        endpoint=endpoint,
        in_recovery=in_recovery,
        cluster=cluster,
        timeline=timeline or former.timeline,
        position=position,
        lag_bytes=lag if in_recovery and position is not None else None,
        sampled_at=asked_at,
        error="" if position is not None else "not streaming",
    )
