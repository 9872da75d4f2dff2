"""Where each server's nodes are: read from the registry, remembered for two seconds; and which of them is the primary by now."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from tenants.db import monitor, roles
from tenants.db.nodes import CONTROL_SERVER, Node
from tenants.db.pools import Endpoint
from tenants.db.urls import database
from tenants.refs import CONTROL

# Seconds for which a process may use what it read of a server: a tenant's route, of which this is a part, changes within it.
TTL = 2.0
# Seconds that a process waits, once, for each node's first answer before it takes one for the primary.
FIRST_ANSWERS = 1.5


@dataclass(frozen=True, slots=True)
class ServerRef:
    """A server's endpoints by their roles of now.

    `replicas` are in the order of the configuration, whatever their roles, so that a replica's number always means the same one; the
    configured primary comes last when it isn't the primary any more. One that isn't in recovery serves no reads as a replica.
    """

    name: str
    primary: Endpoint
    replicas: tuple[Endpoint, ...]


@dataclass(slots=True)
class _Known:
    nodes: tuple[Node, ...]
    read_at: float
    ref: ServerRef
    generation: int


_known: dict[str, _Known] = {}
_lock = threading.Lock()


def server_of(name: str) -> ServerRef:
    """The server of that name, with the roles of now. Raises tenants.models.Server.DoesNotExist."""
    return _server(name).ref


def _server(name: str) -> _Known:
    known = _known.get(name)
    if known is None or time.monotonic() - known.read_at > TTL:
        with _lock:
            known = _known.get(name)
            if known is None or time.monotonic() - known.read_at > TTL:
                known = _learn(name, _load(name))
    if known.generation != roles.generation:
        known = _learn(name, known.nodes, read_at=known.read_at)
    return known


def control_server() -> ServerRef:
    """The server of the control database, with the roles of now.

    Its nodes are the hosts of CONTROL_DATABASE_URL, and those of the server in TENANT_SERVERS that shares its first host, if there is
    one: the registry can't be asked where the registry is.
    """
    return _control().ref


def _control() -> _Known:
    known = _known.get(CONTROL_SERVER)
    if known is None or known.generation != roles.generation:
        known = _learn(CONTROL_SERVER, known.nodes if known else _control_nodes())
    return known


def control_endpoint() -> Endpoint:
    """The primary of the control database."""
    return control_server().primary


def primary_endpoint(server: str) -> Endpoint:
    """The primary of a server (or CONTROL_SERVER) for somebody who is about to connect.

    The nodes are those that are known, however long ago they were read, so that nobody who connects waits for the registry; the roles are
    those of now. The first one in a process waits for the nodes' answers.
    """
    known = _known.get(server) or (_control() if server == CONTROL_SERVER else _server(server))
    nodes = known.nodes
    if len(nodes) == 1:
        return nodes[0].endpoint
    roles.wait_until_asked(server, FIRST_ANSWERS)
    return roles.primary_of(server, nodes[0].endpoint)


def control_parameters() -> dict[str, Any]:
    """The parameters of the control database (as tenants.db.urls has them) at its primary, for connections past the pools."""
    primary = primary_endpoint(CONTROL_SERVER)
    return {**settings.DATABASES["control"], "HOST": primary.host, "PORT": str(primary.port)}


def forget_servers() -> None:
    """Read every server anew when it is next asked for."""
    with _lock:
        for name in [name for name in _known if name != CONTROL_SERVER]:
            del _known[name]


def _learn(name: str, nodes: tuple[Node, ...], *, read_at: float | None = None) -> _Known:
    monitor.watch(name, nodes)
    generation = roles.generation  # before the roles are read: what changes in between is read again
    configured, *others = (node.endpoint for node in nodes)
    primary = roles.primary_of(name, configured)
    replicas = (*others, configured) if primary != configured else tuple(others)
    read_at = time.monotonic() if read_at is None else read_at
    known = _known[name] = _Known(nodes, read_at, ServerRef(name, primary, replicas), generation)
    return known


def endpoint_of(url: str, *, name: str) -> Endpoint:
    """The endpoint that a database URL names first, without its user and password."""
    return _endpoints(database(url), name=name)[0]


def _endpoints(parsed: dict[str, Any], *, name: str) -> list[Endpoint]:
    hosts = [(parsed["HOST"], int(parsed["PORT"])), *parsed.get("STANDBYS", ())]
    return [
        Endpoint(
            name=name if number == 0 else f"{name}/host{number + 1}",
            host=host,
            port=port,
            options=tuple(sorted((key, str(value)) for key, value in parsed["OPTIONS"].items())),
            numbers=tuple(sorted(parsed.get("POOL", {}).items())),
        )
        for number, (host, port) in enumerate(hosts)
    ]


def _nodes_of(parsed: dict[str, Any], *, name: str) -> tuple[Node, ...]:
    return tuple(Node.of(endpoint, parsed) for endpoint in _endpoints(parsed, name=name))


def _control_nodes() -> tuple[Node, ...]:
    parsed = settings.DATABASES["control"]
    nodes = _nodes_of(parsed, name="control")
    for urls in settings.TENANT_SERVERS.values():
        shared = [database(url) for url in (urls["primary"], *urls["replicas"])]
        endpoints = [endpoint for each in shared for endpoint in _endpoints(each, name="control")]
        if any(endpoint.key == nodes[0].endpoint.key for endpoint in endpoints):
            for number, endpoint in enumerate(endpoints):
                there = {**parsed, "HOST": endpoint.host, "PORT": str(endpoint.port), "STANDBYS": []}
                nodes += _nodes_of(there, name=f"control/host{number + 1}")
    return _without_repeats(nodes)


def _without_repeats(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes, each host and port once."""
    return tuple({node.endpoint.key: node for node in reversed(nodes)}.values())[::-1]


def _load(name: str) -> tuple[Node, ...]:
    from tenants.db.handler import release_unless_active
    from tenants.models import Replica, Server

    try:
        # By control's alias, whatever routers a project has: a tenant's connection waits for this answer.
        server = Server.objects.using(CONTROL.alias).get(pk=name)
        replicas = list(Replica.objects.using(CONTROL.alias).filter(server_id=name))
    except Server.DoesNotExist:
        monitor.unwatch(name)
        raise
    finally:
        release_unless_active(CONTROL.alias)
    nodes = _nodes_of(database(server.url), name=name)
    for replica in replicas:
        nodes += _nodes_of(database(replica.url), name=f"{name}/{replica.name}")
    return _without_repeats(nodes)
