"""Which node of a server is its primary: the nodes say it, not the configuration.

A node that isn't in recovery, on the highest timeline that anybody of the same cluster has been seen on, is the primary. A promotion begins
a new timeline, so a former primary that still takes writes on the old one is fenced here: no pool of this process sends it a write. A
node of another cluster (another system identifier) counts for nothing. With nobody to adopt, the last known primary stays: if it
is in recovery or fenced, writes are refused until somebody has the highest timeline.

What the nodes say comes from tenants.db.monitor, and from borrowers who were told that a primary isn't one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog

from tenants.db import pools
from tenants.db.breaker import breaker_of
from tenants.db.nodes import Node, NodeState
from tenants.db.pools import Endpoint

log = structlog.get_logger(__name__)

Key = tuple[str, int]


@dataclass(slots=True)
class _Server:
    """A server as this process knows it. `primary` is the adopted one; `cluster` is the system identifier once it is known."""

    nodes: tuple[Node, ...]  # the configured primary first
    primary: Endpoint
    cluster: str = ""
    timeline: int = 0
    asked: set[Key] = field(default_factory=set)


_servers: dict[str, _Server] = {}
_states: dict[Key, NodeState] = {}
_fenced: frozenset[Key] = frozenset()
_changed = threading.Condition()
# Counts the changes of roles, so that what was derived from them is known to be old.
generation = 0


# --- What is asked of it ---------------------------------------------------------------------------------------------------


def primary_of(server: str, configured: Endpoint) -> Endpoint:
    """The primary of a server by now; the configured one as long as nothing is known."""
    known = _servers.get(server)
    return configured if known is None else known.primary


def is_fenced(endpoint: Endpoint) -> bool:
    """Whether the node is known to be no primary: in recovery, or on a timeline that others have left."""
    return endpoint.key in _fenced


def state_of(endpoint: Endpoint) -> NodeState | None:
    """What the node said last."""
    return _states.get(endpoint.key)


def states() -> list[NodeState]:
    """What every node that this process watches said last."""
    return list(_states.values())


def wait_until_asked(server: str, timeout: float) -> None:
    """Return when each node of the server has been asked once, or `timeout` seconds later.

    A process that begins after a failover mustn't write to the old primary just because that one answered first.
    """
    known = _servers.get(server)
    if known is None or len(known.nodes) < 2 or len(known.asked) >= len(known.nodes):
        return
    with _changed:
        _changed.wait_for(lambda: len(known.asked) >= len(known.nodes), timeout)


# --- What it is told ---------------------------------------------------------------------------------------------------------


def configure(server: str, nodes: Sequence[Node]) -> None:
    """Know a server by these nodes, the configured primary first; what is known of them stays."""
    with _changed:
        known = _servers.get(server)
        if known is not None and known.nodes == tuple(nodes):
            return
        endpoints = [node.endpoint for node in nodes]
        stays = known is not None and known.primary.key in {endpoint.key for endpoint in endpoints}
        primary = next(e for e in endpoints if e.key == known.primary.key) if stays and known else endpoints[0]
        _servers[server] = _Server(tuple(nodes), primary)
        for endpoint in endpoints:
            _states.setdefault(endpoint.key, NodeState(endpoint))
        cut = _reassess()
    _cut(cut)


def forget_server(server: str) -> None:
    """Forget what is known of a server's roles."""
    global generation
    with _changed:
        _servers.pop(server, None)
        generation += 1


def forget_node(key: Key) -> None:
    """Forget a node that is asked no more."""
    with _changed:
        if not any(node.endpoint.key == key for server in _servers.values() for node in server.nodes):
            _states.pop(key, None)


def record(state: NodeState) -> None:
    """Note what a node has just said, or that it said nothing."""
    with _changed:
        _states[state.endpoint.key] = state
        for server in _servers.values():
            if any(node.endpoint.key == state.endpoint.key for node in server.nodes):
                server.asked.add(state.endpoint.key)
        cut = _reassess()
        _changed.notify_all()
    _cut(cut)


def demoted(endpoint: Endpoint) -> None:
    """Note that a node that was wanted as a primary said that it is in recovery. Where nobody asks again, nothing is noted."""
    if not any(
        len(server.nodes) > 1 and endpoint.key in {node.endpoint.key for node in server.nodes}
        for server in list(_servers.values())
    ):
        return
    state = _states.get(endpoint.key) or NodeState(endpoint)
    log.warning("primary_demoted", endpoint=endpoint.name)
    record(replace(state, in_recovery=True, position=None, sampled_at=time.monotonic(), error="demoted"))


# --- What follows from it ----------------------------------------------------------------------------------------------------


def _reassess() -> list[Endpoint]:
    """Adopt and fence by what is known now, under the lock. Returns the endpoints whose connections must end."""
    global _fenced, generation
    former = {name: server.primary for name, server in _servers.items()}
    fenced: set[Key] = set()
    for name, server in _servers.items():
        fenced |= _assess(name, server)
    cut = [former[name] for name, server in _servers.items() if server.primary.key != former[name].key]
    cut += [server.primary for server in _servers.values() if server.primary.key in fenced - _fenced]
    if cut or fenced != _fenced:
        _fenced = frozenset(fenced)
        generation += 1
    return cut


def _assess(name: str, server: _Server) -> set[Key]:
    """Choose the primary of one server, and return the keys of those that aren't one."""
    known = [state for node in server.nodes if (state := _states[node.endpoint.key]).cluster]
    # The configured primary says which cluster this is; a process that never reached it believes the others.
    configured = server.nodes[0].endpoint.key
    cluster = _states[configured].cluster or server.cluster
    if not cluster and known and configured in server.asked:
        cluster = known[0].cluster
    if cluster != server.cluster:
        server.cluster, server.timeline = cluster, 0
    ours = [state for state in known if state.cluster == cluster]
    server.timeline = max([server.timeline, *(state.timeline for state in ours)])
    heirs = [state.endpoint for state in ours if state.takes_writes and state.timeline == server.timeline]
    if heirs and server.primary.key not in {heir.key for heir in heirs}:
        log.warning("primary_adopted", server=name, primary=heirs[0].name, timeline=server.timeline)
        server.primary = heirs[0]
        breaker_of(heirs[0]).succeeded()
    strangers = {state.endpoint.key for state in known if cluster} - {state.endpoint.key for state in ours}
    return strangers | {state.endpoint.key for state in ours if state.in_recovery or state.timeline < server.timeline}


def _cut(endpoints: list[Endpoint]) -> None:
    for endpoint in endpoints:
        ended = pools.cut(endpoint)
        log.warning("endpoint_fenced", endpoint=endpoint.name, connections=ended)


def _start_empty_after_fork() -> None:
    global _changed, _fenced, generation
    _servers.clear()
    _states.clear()
    _changed, _fenced, generation = threading.Condition(), frozenset(), 0


os.register_at_fork(after_in_child=_start_empty_after_fork)
