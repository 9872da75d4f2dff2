"""Ending connections so that they don't count against the server any more when the call returns."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable
from typing import Any

import psycopg

# Seconds that a server is given to close a connection that we ended, before it stops to count all the same.
CLOSE_TIMEOUT = 2.0


def close_and_wait(connections: Iterable[psycopg.Connection[Any]]) -> None:
    """End connections and wait until the server has closed its side, which it does once the backend is gone.

    They are ended together and waited for together, for CLOSE_TIMEOUT seconds at most.
    """
    ends: set[int] = set()
    poll = select.poll()
    for connection in connections:
        try:
            # Closing frees the socket at once, so a second descriptor of it listens for the server's answer.
            end = os.dup(connection.pgconn.socket)
        except (psycopg.Error, OSError):  # it was closed already
            connection.close()
            continue
        connection.close()
        ends.add(end)
        poll.register(end, select.POLLIN | select.POLLHUP)
    deadline = time.monotonic() + CLOSE_TIMEOUT
    try:
        while ends and (left := deadline - time.monotonic()) > 0:
            for end, _ in poll.poll(left * 1000):
                try:
                    at_end = not os.read(end, 4096)
                except OSError:
                    at_end = True
                if at_end:
                    poll.unregister(end)
                    ends.remove(end)
                    os.close(end)
    finally:
        for end in ends:
            os.close(end)


def shut(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Shut a connection's socket down, which another thread may be waiting on: that thread finds it at its end."""
    try:
        end = socket.socket(fileno=os.dup(connection.pgconn.socket))
    except (psycopg.Error, OSError):  # its thread has just closed it
        return
    with end:
        try:
            # Its thread may close it and open something else between the two words above, which would have its number.
            if end.family == socket.AF_UNIX or end.getpeername()[1] == connection.info.port:
                end.shutdown(socket.SHUT_RDWR)
        except (psycopg.Error, OSError):
            return
