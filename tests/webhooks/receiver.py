"""A tenant's system that receives webhooks: a real HTTP server in this process, which answers as it is told."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Behaviour = Callable[["Handler"], None]


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)["data"].get("events", [])
        return found

    def is_signed_by(self, secret: str) -> bool:
        """Whether one of the signatures is that of the secret: written here once more, from the standard's words."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = b".".join([self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body])
        wanted = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return any(hmac.compare_digest(wanted, given) for given in self.headers["webhook-signature"].split(" "))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.server.receiver
        receiver.requests.append(Received(self.path, headers, body))
        behaviour = receiver.script.pop(0) if receiver.script else receiver.otherwise
        with contextlib.suppress(OSError):
            behaviour(self)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, *_: Any) -> None:
        """Clients may go away."""


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with this."""

    def behave(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def drop(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def garbage(handler: Handler) -> None:
    """Answer with what isn't HTTP."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def drip(seconds: float) -> Behaviour:
    """Send a byte of the answer's headers now and then, and end well after so many seconds."""

    def behave(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)
        handler.wfile.write(b"\r\nContent-Length: 0\r\n\r\n")

    return behave


def endless(handler: Handler) -> None:
    """A body that has no end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        handler.wfile.write(b"all is well " * 1000)


@dataclass
class Hold:
    """Keep the request, until it is let go; then answer 200."""

    came: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, handler: Handler) -> None:
        self.came.set()
        self.let_go.wait(30)
        answer(200)(handler)


class Receiver:
    """Listens on a port of loopback. `script` is how the next requests are answered, `otherwise` all after them."""

    def __init__(self, *, certificate: tuple[str, str] | None = None) -> None:
        self.requests: list[Received] = []
        self.script: list[Behaviour] = []
        self.otherwise: Behaviour = answer(200, b"ok")
        self._certificate = certificate
        self._port = 0
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = Server(("127.0.0.1", self._port), Handler)
        self._server.receiver = self
        self._port = self._server.server_port
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Nobody listens on the port any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/events?from=tenantry"

    @property
    def port(self) -> int:
        return self._port

    def events(self) -> list[dict[str, Any]]:
        """All events that came, in the order of the messages; a repeated message counts once, as at a good receiver's."""
        first: dict[str, Received] = {}
        for request in self.requests:
            first.setdefault(request.id, request)
        return [event for request in first.values() for event in request.events]
