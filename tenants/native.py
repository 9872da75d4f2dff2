"""The ASGI application of `stream`: native routes run async from socket to socket, all else goes to Django.

Django's ASGIHandler holds a thread for as long as an answer lasts, which is an hour for a live tail. A native route is
a plain ASGI application in a table (config/asgi.py). It starts with no tenant. An answer without an end watches
`scope["state"]["closing"]`, an asyncio.Event that is set at SIGTERM, before the server waits for connections: it then
ends its body, and the client comes back.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from types import FrameType
from typing import Any

import orjson
import structlog
from structlog.contextvars import bound_contextvars

from tenants import clients, metrics
from tenants.request_id import HEADER, accepted_request_id

log = structlog.get_logger("tenants.requests")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_DRAIN_SECONDS = 5.0


def _always(scope: Scope) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """GET and HEAD of a path are answered by `application` when `when` says so of the request; else Django answers."""

    path: str
    application: Application
    when: Callable[[Scope], bool] = _always


async def send_json(scope: Scope, send: Send, content: Any, *, status: int = 200) -> None:
    """A whole answer of JSON, not to be cached."""
    body = orjson.dumps(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class NativeApplication:
    """Native routes, the life of the process, and Django for the rest."""

    def __init__(self, *, routes: Iterable[Route], django: Application) -> None:
        self.routes = {route.path: route for route in routes}
        self.django = django
        self.closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif (route := self._route(scope)) is not None:
            await self._serve(route, scope, receive, send)
        else:
            await self.django(scope, receive, send)

    def _route(self, scope: Scope) -> Route | None:
        route = self.routes.get(scope["path"])
        return route if route and scope["method"] in {"GET", "HEAD"} and route.when(scope) else None

    async def _serve(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a native route with what Django's middleware does for the others: request id, log line, measured time."""
        started = time.perf_counter()
        name = HEADER.lower().encode()
        sent = next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
        request_id = accepted_request_id(sent)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (name, request_id.encode())]
            await send(message)

        scope.setdefault("state", {}).update(closing=self.closing, request_id=request_id)
        with bound_contextvars(request_id=request_id):
            try:
                await route.application(scope, receive, send_with_id)
            except Exception:
                log.exception("native_route_failed", route=route.path)
                if status:
                    raise  # the head is out: only a broken connection tells the client that the body is not whole
                title = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
                problem = {"type": "about:blank", "title": title, "status": 500, "request_id": request_id}
                await send_json(scope, send_with_id, problem, status=500)
            finally:
                seconds = time.perf_counter() - started
                metrics.observe_request(method=scope["method"], route=route.path, status=status, seconds=seconds)
                write = log.error if status >= 500 else log.debug if route.path in {"/live", "/ready"} else log.info
                duration = round(seconds * 1000, 1)
                write("request", method=scope["method"], route=route.path, status=status, duration_ms=duration)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.closing = asyncio.Event()
        self._close_streams_at_sigterm(asyncio.get_running_loop())
        sampler = asyncio.create_task(metrics.sample_in_loop())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.closing.set()
        sampler.cancel()
        await asyncio.to_thread(clients.close_all, timeout=_DRAIN_SECONDS)
        await send({"type": "lifespan.shutdown.complete"})

    def _close_streams_at_sigterm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear SIGTERM beside the server, which says `lifespan.shutdown` only once every connection has ended.

        A handler set by `signal.signal` runs beside the loop's own, which listens to the wakeup file descriptor.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        former = signal.getsignal(signal.SIGTERM)

        def close_streams(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.closing.set)
            if callable(former):
                former(number, frame)

        signal.signal(signal.SIGTERM, close_streams)
