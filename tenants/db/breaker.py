"""A breaker for each endpoint: once it is known to be down, who asks for a new connection is refused in microseconds.

It opens after FAILURES failed connects in a row, or when the monitor finds the endpoint dead. It closes when a connect succeeds or the
monitor gets an answer. While it is open one caller at a time may try, RETRY_AFTER seconds after the last failure, and the monitor's
failures count: where there is a monitor, no caller waits for a dead endpoint. One that is given a longer `most` backs off: each failed
try doubles the time to the next.

(pybreaker holds its lock while the guarded call runs, which would have all threads of a process connect one after the other.)
"""

from __future__ import annotations

import os
import threading
import time

import psycopg
import structlog

from tenants.db.pools import Endpoint
from tenants.errors import EndpointDown

log = structlog.get_logger(__name__)

FAILURES = 3
# Seconds; longer than the monitor takes from one try to the next.
RETRY_AFTER = 3.0


class Breaker:
    """The breaker of one endpoint, tried again after `first` seconds, and at last every `most`. Safe to use from any thread."""

    def __init__(self, name: str, *, first: float = RETRY_AFTER, most: float = RETRY_AFTER) -> None:
        self.name = name
        self.first = first
        self.most = most
        self._lock = threading.Lock()
        self._failures = 0
        self._is_open = False
        self._pause = first
        self._try_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether callers are refused."""
        return self._is_open

    def may_try(self) -> bool:
        """Whether the caller may try to reach the endpoint: while the breaker is open, one of them now and then."""
        if not self.is_open:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._try_at:
                return False
            self._try_at = now + self._pause
            return True

    def check(self) -> None:
        """Raise EndpointDown while the breaker is open, but for the one caller whose turn it is to try."""
        if not self.may_try():
            raise EndpointDown(endpoint=self.name)

    def failed(self, *, at_once: bool = False) -> None:
        """Note that the endpoint couldn't be reached; `at_once`: open, however many failed before."""
        with self._lock:
            self._failures += 1
            if self._is_open:
                self._pause = min(2 * self._pause, self.most)
            self._try_at = time.monotonic() + self._pause
            opens = not self._is_open and (at_once or self._failures >= FAILURES)
            self._is_open = self._is_open or opens
        if opens:
            log.warning("endpoint_down", endpoint=self.name, failures=self._failures)

    def succeeded(self) -> None:
        """Note that the endpoint was reached."""
        if not self._failures and not self._is_open:
            return
        with self._lock:
            closes = self._is_open
            self._failures, self._is_open, self._pause, self._try_at = 0, False, self.first, 0.0
        if closes:
            log.info("endpoint_up", endpoint=self.name)


_breakers: dict[tuple[str, int], Breaker] = {}


def breaker_of(endpoint: Endpoint) -> Breaker:
    """The breaker of an endpoint in this process."""
    breaker = _breakers.get(endpoint.key)
    return breaker if breaker is not None else _breakers.setdefault(endpoint.key, Breaker(endpoint.name))


def is_unreachable(error: BaseException) -> bool:
    """Whether a failed connect says something of the endpoint: nobody answered, or it is starting or stopping.

    A wrong password, a database that isn't there or too many clients are answers. libpq gives no SQLSTATE for a failed connect: who
    was asked for a password was answered, and so was who got a FATAL, whatever language the rest is in.
    """
    if not isinstance(error, psycopg.OperationalError):
        return isinstance(error, OSError)
    pgconn = error.pgconn
    if pgconn is not None and pgconn.used_password:
        return False
    words = str(error)
    return "FATAL" not in words or "the database system is" in words


os.register_at_fork(after_in_child=_breakers.clear)
