"""A TCP proxy in front of MongoDB that can hold a message back, so that a process can be killed exactly there."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on, until a message to the server holds `marker`.

    Then `held` is set, and nothing of that connection passes any more: neither the message, nor, with `after=True`, its answer.
    """

    def __init__(self, url: str, *, marker: bytes, after: bool = False) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 27017)
        self._marker = marker
        self._after = after
        self.held = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        # Direct, since the server's own address would lead past the proxy.
        self.url = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}?directConnection=true"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                stopped = threading.Event()
                threading.Thread(target=self._to_server, args=(client, server, stopped), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client, stopped), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, stopped: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                if self._marker in data:
                    stopped.set()
                    if not self._after:
                        self.held.set()
                        return
                server.sendall(data)

    def _to_client(self, server: socket.socket, client: socket.socket, stopped: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                if stopped.is_set():
                    self.held.set()
                    return
                client.sendall(data)
