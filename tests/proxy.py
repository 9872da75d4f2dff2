"""A TCP proxy in front of a real server, which can be cut, delayed and black-holed, and counts what passes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Passes bytes between clients and the server of a URL; `url` is the same by way of the proxy.

    `connect_delay` and `delay` (seconds) hold back the start of a connection and each piece of data to the server.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        credentials = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{self.port}"))
        self.connect_delay = 0.0
        self.delay = 0.0
        # Pieces of data that clients have sent. libpq sends a query in one, so of small ones each is a round trip.
        self.sent = 0
        self.connections = 0
        self._open = threading.Event()
        self._accepting = threading.Event()
        self.release()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        _close(self._listener)
        self.cut()

    def cut(self) -> None:
        """End every connection that is open now."""
        with self._lock:
            pairs = list(self._pairs)
            self._pairs.clear()
        for pair in pairs:
            for each in pair:
                _close(each)

    def swallow(self) -> None:
        """From now on nothing passes, and nobody is told: neither what is open nor what connects."""
        self._open.clear()

    def release(self) -> None:
        """Let pass what was held back, and all that follows."""
        self._open.set()
        self._accepting.set()

    def hold_connects(self) -> None:
        """From now on new connections wait for `release`; those that are open work on."""
        self._accepting.clear()

    def refuse_connects(self) -> None:
        """From now on nobody listens; what is open works on."""
        _close(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        time.sleep(self.connect_delay)
        self._accepting.wait()
        self._open.wait()
        try:
            server = socket.create_connection(self._server)
        except OSError:
            _close(client)
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (client, server)
        with self._lock:
            self.connections += 1
            self._pairs.add(pair)
        threading.Thread(target=self._pass, args=(server, client, pair), daemon=True).start()
        self._pass(client, server, pair, from_client=True)

    def _pass(
        self,
        source: socket.socket,
        target: socket.socket,
        pair: tuple[socket.socket, socket.socket],
        from_client: bool = False,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if from_client:
                    with self._lock:
                        self.sent += 1
                    if self.delay:
                        time.sleep(self.delay)
                self._open.wait()
                target.sendall(data)
        with self._lock:
            self._pairs.discard(pair)
        # One side has ended: so does the other, as it would without a proxy between them.
        for each in pair:
            _close(each)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
