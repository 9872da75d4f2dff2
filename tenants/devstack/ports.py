"""Ports on loopback: find a free one, tell whether one is taken and by whom."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import psutil

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(taken: set[int] = frozenset()) -> int:  # type: ignore[assignment]
    """A port that is free now, below the range that the system hands to outgoing connections.

    Inside that range a client that retries while the server is away can be given the server's own port as its source,
    connect to itself and keep the server from coming back.
    """
    top = _first_ephemeral_port()
    for _ in range(1000):
        port = random.randrange(max(10_000, top - 12_000), top)  # noqa: S311  not a secret
        if port not in taken and is_free(port):
            return port
    raise OSError("No free port was found on the loopback interface.")


def _first_ephemeral_port() -> int:
    try:
        return max(12_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
    except (OSError, ValueError):
        return 32_768


def user_of(port: int) -> str | None:
    """Who listens on the port, as `name (pid 123)`, or None when the system doesn't tell."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return None
    return None
