"""Which replica will do for a reader: one that streams, on the primary's timeline, and has replayed what the reader must see.

What is known of a replica (tenants.db.roles) is a lower bound of what it has replayed, so a reader's position is compared with it
in memory, at no round trip. Lag is counted in bytes: time reads seconds on an idle replica that has everything.
"""

from __future__ import annotations

from dataclasses import replace

from tenants.db import roles
from tenants.db.nodes import NodeState, Position
from tenants.db.pools import Endpoint, pool_of
from tenants.refs import TenantRef
from tenants.servers import ServerRef, server_of

# Bytes that a replica may be behind for a reader that asks for nothing in particular.
MAX_LAG = 16 * 1024 * 1024


def choose(ref: TenantRef, after: Position | None) -> int | None:
    """The number of a replica that has replayed `after`, the least busy one; None when only the primary will do."""
    server = server_of(ref.server)
    best: tuple[int, int] | None = None
    for number, endpoint in enumerate(server.replicas):
        if _is_fresh(server, roles.state_of(endpoint), after):
            running = pool_of(endpoint).running
            if best is None or running < best[0]:
                best = running, number
    return None if best is None else best[1]


def _is_fresh(server: ServerRef, state: NodeState | None, after: Position | None) -> bool:
    if state is None or not state.in_recovery or not state.healthy or state.position is None:
        return False
    if after is not None and not state.position.covers(after):
        return False
    primary = roles.state_of(server.primary)
    # One that follows a former primary replays a history that others have left.
    history = (state.position.cluster, state.position.timeline)
    if primary is not None and primary.timeline and history != (primary.cluster, primary.timeline):
        return False
    return after is not None or lag_of(state, primary) <= MAX_LAG


def lag_of(state: NodeState, primary: NodeState | None) -> int:
    """How many bytes a replica is behind: of what its stream has told it of, and of what the primary has told us."""
    assert state.position is not None
    lag = state.lag_bytes or 0
    if primary is not None and primary.position is not None and primary.position.timeline == state.position.timeline:
        lag = max(lag, primary.position.lsn - state.position.lsn)
    return lag


def status() -> list[NodeState]:
    """The last answer of each node in recovery that this process watches."""
    return [state for state in roles.states() if state.in_recovery]


def mark_failed(endpoint: Endpoint) -> None:
    """Use the replica no more until it answers the monitor again: a borrower has just failed to reach it."""
    state = roles.state_of(endpoint)
    if state is not None and state.position is not None:
        roles.record(replace(state, position=None, lag_bytes=None, error="unreachable"))
