"""The clients of MongoDB and Valkey: how this process sees their servers, and the end of everything that it has open.

A server that is lost or found again is logged when that changes, once, and not by each who notices. Connections to Postgres are the
pools' (tenants.db.pools).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from tenants.db import pools

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ClientState:
    """What a client knows of its server: `unknown` until it has talked to it, then `ok` or `down`. `facts` are its numbers of now."""

    name: str
    state: str = "unknown"
    error: str = ""
    facts: Callable[[], dict[str, Any]] = field(default=dict)

    def found(self) -> None:
        """The server has answered."""
        if self.state != "ok":
            former, self.state, self.error = self.state, "ok", ""
            if former == "down":
                log.info("client_found", client=self.name)

    def lost(self, error: BaseException | None) -> None:
        """The server can't be reached, or doesn't answer."""
        self.error = type(error).__name__ if error is not None else ""
        if self.state != "down":
            self.state = "down"
            log.warning("client_lost", client=self.name, error=self.error)

    def as_dict(self) -> dict[str, Any]:
        return {"state": self.state, **({"error": self.error} if self.error else {}), **self.facts()}


MONGO = ClientState("mongo")
VALKEY = ClientState("valkey")

_before_end: dict[str, Callable[[], None]] = {}
_closers: dict[str, Callable[[], None]] = {}


def status() -> dict[str, dict[str, Any]]:
    """Each client's state and numbers in this process."""
    return {client.name: client.as_dict() for client in (MONGO, VALKEY)}


def before_end(name: str, finish: Callable[[], None]) -> None:
    """Call `finish` when the process ends, while the pools still work."""
    _before_end[name] = finish


def at_end(name: str, close: Callable[[], None]) -> None:
    """Call `close` when the process ends, after the pools were drained."""
    _closers[name] = close


def close_all(timeout: float = 10.0) -> None:
    """Drain the pools within `timeout` seconds, then close the clients, so that no server learns it from a broken socket."""
    _call(_before_end)
    pools.close_all(timeout)
    _call(_closers)


def _call(closers: dict[str, Callable[[], None]]) -> None:
    for name, close in list(closers.items()):
        try:
            close()
        except Exception as error:  # the next one is to be closed all the same
            log.warning("client_not_closed", client=name, error=type(error).__name__)


def _know_nothing_after_fork() -> None:
    for client in (MONGO, VALKEY):
        client.state, client.error = "unknown", ""


os.register_at_fork(after_in_child=_know_nothing_after_fork)
