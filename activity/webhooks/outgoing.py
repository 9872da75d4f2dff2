"""One message to one address: to a machine that was checked, without redirects, in bounded time, with a bounded answer."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

from activity.webhooks import addresses
from activity.webhooks.addresses import Address
from activity.webhooks.errors import AddressRefused

CONNECT_TIMEOUT: Final = 4.0  # seconds for each of a host's addresses
TOTAL_TIMEOUT: Final = 10.0  # seconds from the first byte of the connection to the last of the answer
MAX_MACHINES: Final = 2  # of a host that are tried in one attempt
MAX_READ: Final = 4_096  # bytes of the answer's body; the rest isn't waited for
MAX_EXCERPT: Final = 1_000  # characters
MAX_RETRY_AFTER: Final = 3_600

_LATE: Final = f"There was no whole answer within {TOTAL_TIMEOUT:.0f} s."


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` is None when there was no answer, and `error` empty when the message was taken."""

    status: int | None
    error: str
    excerpt: str
    seconds: float
    retry_after: int | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has the message now."""
        return self.status is not None and 200 <= self.status < 300


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """POST a body of JSON. Raises nothing: what goes wrong is said in the answer."""
    started = time.monotonic()
    try:
        address = addresses.parse(url)
        machines = addresses.checked(address)
    except AddressRefused as refusal:
        return Answer(None, refusal.message, "", time.monotonic() - started)
    deadline = _Deadline(TOTAL_TIMEOUT)
    connection = _Connection(address, machines, deadline)
    try:
        return _exchange(connection, address, body, headers, started, deadline)
    except (OSError, http.client.HTTPException, ValueError) as error:
        sentence = _LATE if deadline.has_passed else _sentence(error)
        return Answer(None, sentence, "", time.monotonic() - started)
    finally:
        deadline.end()
        connection.close()


def _exchange(
    connection: _Connection,
    address: Address,
    body: bytes,
    headers: Mapping[str, str],
    started: float,
    deadline: _Deadline,
) -> Answer:
    own = {"Content-Type": "application/json", "User-Agent": "Tenantry-Webhooks", "Connection": "close"}
    connection.request("POST", address.target, body=body, headers={**own, **headers})
    with connection.getresponse() as response:
        if deadline.has_passed:  # http.client takes headers that are cut off for whole ones
            raise TimeoutError
        read = b""
        # The status says whether it was taken; a body that doesn't come, or has no end, changes nothing.
        with suppress(OSError, http.client.HTTPException, ValueError):
            read = response.read(MAX_READ)
    excerpt = read.decode("utf-8", "replace").replace("\0", " ")[:MAX_EXCERPT]
    seconds = time.monotonic() - started
    status = response.status
    if 200 <= status < 300:
        return Answer(status, "", excerpt, seconds)
    if 300 <= status < 400:
        sentence = f"It answered {status}, and redirects aren't followed: enter the address that it leads to."
    else:
        sentence = f"It answered {status}."
    return Answer(status, sentence, excerpt, seconds, _retry_after(response))


def _retry_after(response: http.client.HTTPResponse) -> int | None:
    asked = response.headers.get("Retry-After", "").strip()
    return min(int(asked), MAX_RETRY_AFTER) if asked.isascii() and asked.isdecimal() and len(asked) < 10 else None


class _Deadline:
    """Ends a connection when its time is up, however slowly bytes keep coming."""

    def __init__(self, seconds: float) -> None:
        self.has_passed = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, opened: socket.socket) -> None:
        """End this one. Of a socket that TLS takes over a second handle is needed."""
        with self._lock:
            self._close()
            self._socket = opened.dup()
        if self.has_passed:
            self._pass()

    def end(self) -> None:
        """The exchange is over."""
        self._timer.cancel()
        with self._lock:
            self._close()

    def _pass(self) -> None:
        self.has_passed = True
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Connection(http.client.HTTPConnection):
    """Connects to the machines that were checked, in turn, and to no other; the host's name is for TLS and the Host header alone."""

    def __init__(self, address: Address, machines: list[str], deadline: _Deadline) -> None:
        super().__init__(address.host, address.port, timeout=TOTAL_TIMEOUT)
        self.default_port = 443 if address.is_secure else 80
        self._address = address
        self._machines = machines
        self._deadline = deadline

    def connect(self) -> None:
        opened = self._open()
        self._deadline.watch(opened)
        if self._address.is_secure:
            opened = _tls().wrap_socket(opened, server_hostname=self._address.host)
        self.sock = opened

    def _open(self) -> socket.socket:
        failed: OSError | None = None
        for machine in self._machines[:MAX_MACHINES]:
            if self._deadline.has_passed:
                break
            try:
                opened = socket.create_connection((machine, self._address.port), timeout=CONNECT_TIMEOUT)
            except OSError as error:
                failed = error
                continue
            opened.settimeout(TOTAL_TIMEOUT)
            return opened
        raise failed or TimeoutError()


@cache
def _tls() -> ssl.SSLContext:
    """The machine's certificate authorities; names are checked."""
    return ssl.create_default_context()


def _sentence(error: Exception) -> str:
    """What went wrong, for the tenant: nothing of this machine's own network."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"The certificate isn't valid: {error.verify_message}."[:300]
        case ssl.SSLError():
            return "TLS could not be agreed on."
        case TimeoutError():
            return "It can't be reached: the connection was not accepted in time."
        case ConnectionRefusedError():
            return "The connection was refused."
        case http.client.RemoteDisconnected() | ConnectionError():
            return "The connection was closed without an answer."
        case http.client.HTTPException() | ValueError():
            return "The answer isn't HTTP."
        case _:
            return "It can't be reached."
