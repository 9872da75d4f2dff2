"""A TCP proxy that passes bytes on until it is told to cut, or to swallow them as a broken network does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes bytes on to a server, in one of three modes."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._refuses = False
        self._sockets: set[socket.socket] = set()
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._passes.set()
        self._end_all()

    def hold(self) -> None:
        """Swallow everything from now on: connections are accepted and stay open, and nothing comes back on them."""
        self._passes.clear()

    def cut(self) -> None:
        """End all connections, and each new one at once."""
        self._refuses = True
        self._end_all()

    def mend(self) -> None:
        """Pass bytes on again; what was held back arrives late, as it does in a network."""
        self._refuses = False
        self._passes.set()

    def _end_all(self) -> None:
        for each in list(self._sockets):
            self._end(each)

    def _end(self, each: socket.socket) -> None:
        self._sockets.discard(each)
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                if self._refuses:
                    client.close()
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._sockets.add(client)
        try:
            server = socket.create_connection(self._server)
        except OSError:
            self._end(client)
            return
        self._sockets.add(server)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._passes.wait()
                target.sendall(data)
        self._passes.wait()
        self._end(source)
        self._end(target)
