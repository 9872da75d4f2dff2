"""Serves native routes, passes the rest to Django, and lives and ends with the process.

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
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from types import FrameType

import structlog
from structlog.contextvars import bound_contextvars

from tenants import clients, metrics
from tenants.db import aio
from tenants.native.answers import Json
from tenants.native.asgi import Application, Message, Receive, Route, Routes, Scope, Send
from tenants.native.problems import UNEXPECTED, ClientGone, NotNative, problem_of
from tenants.native.receiver import Receiver
from tenants.problem import CONTENT_TYPE
from tenants.request_id import HEADER, accepted_request_id

log = structlog.get_logger("tenants.requests")

_DRAIN_SECONDS = 5.0
# What the log says of a request whose client left before it was answered; nobody receives it. (nginx's number.)
_CLIENT_GONE = 499


class NativeApplication:
    """Native routes, the life of the process, and Django for the rest. `closers` are run at the end, after the last request."""

    def __init__(
        self, *, routes: Iterable[Route], django: Application, closers: Iterable[Callable[[], Awaitable[None]]] = ()
    ) -> None:
        self.routes = Routes(routes)
        self.django = django
        self.closers = tuple(closers)
        self.closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif (route := self.routes.find(scope)) is not None:
            await self._serve(route, scope, receive, send)
        else:
            await self.django(scope, receive, send)

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
        receiver = Receiver(receive)
        with bound_contextvars(request_id=request_id), closing(receiver):
            try:
                await route.application(scope, receiver, send_with_id)
            except NotNative:
                await self.django(scope, receiver, send)
                return
            except ClientGone:
                status = status or _CLIENT_GONE
            except Exception as error:
                if status:
                    log.exception("native_route_failed", route=route.path)
                    raise  # the head is out: only a broken connection tells the client that the body is not whole
                await self._refuse(error, route, scope, send_with_id)
            self._note(route, scope, status, time.perf_counter() - started)

    async def _refuse(self, error: Exception, route: Route, scope: Scope, send: Send) -> None:
        problem = problem_of(error)
        if problem is None:
            log.error("native_route_failed", route=route.path, exc_info=error)
            problem = UNEXPECTED
        elif problem.status == 503:
            log.warning("api_unavailable", error=type(error).__name__)
        document = problem.document(scope["state"]["request_id"])
        await Json(document, problem.status, problem.headers, CONTENT_TYPE).send(scope, send)

    def _note(self, route: Route, scope: Scope, status: int, seconds: float) -> None:
        metrics.observe_request(method=scope["method"], route=route.path, status=status, seconds=seconds)
        write = log.error if status >= 500 else log.debug if route.path in {"/live", "/ready"} else log.info
        facts = {
            "method": scope["method"],
            "route": route.path,
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
        }
        tenant = scope["state"].get("tenant")
        write("request", **facts, **({"tenant": tenant} if tenant else {}))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.closing = asyncio.Event()
        self._close_streams_at_sigterm(asyncio.get_running_loop())
        tasks = [asyncio.create_task(metrics.sample_in_loop()), asyncio.create_task(aio.maintain())]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.closing.set()
        for task in tasks:
            task.cancel()
        # One after the other: the second one gives the leases of both kinds of pools back.
        deadline = time.monotonic() + _DRAIN_SECONDS
        await aio.close_all(timeout=_DRAIN_SECONDS)
        await asyncio.to_thread(clients.close_all, timeout=max(1.0, deadline - time.monotonic()))
        for close in self.closers:
            await close()
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
