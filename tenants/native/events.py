"""Server-sent events: an answer without an end that holds no thread and, between two events, no connection to a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from tenants.native.answers import send_head
from tenants.native.asgi import Scope, Send
from tenants.native.problems import ClientGone
from tenants.native.security import security_headers

log = structlog.get_logger(__name__)

# Seconds of silence after which a comment is sent: proxies cut what says nothing for a minute, and a client that is gone shows.
HEARTBEAT_SECONDS = 15.0
# Seconds for which a client may take nothing while there is something to send: it is cut then, and may come back.
STALLED_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event. A client that comes back sends the last `id` as Last-Event-ID; `retry` is in milliseconds."""

    data: str
    event: str = ""
    id: str = ""
    retry: int | None = None

    def encode(self) -> bytes:
        """The event as it goes over the wire. Names and ids can't hold a line break."""
        lines = [f"{name}: {value}" for name, value in (("event", self.event), ("id", self.id)) if value]
        if any("\n" in line or "\r" in line for line in lines):
            raise ValueError("the name and the id of an event are one line each")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        data = self.data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "\n".join([*lines, *(f"data: {line}" for line in data), "", ""]).encode()


@dataclass(frozen=True, slots=True)
class Events:
    """Sends what an async generator of events gives, until that ends, the client leaves, or the process stops.

    What many clients get alike the generator may give as bytes, encoded once. `headers` are further ones.

    At SIGTERM (`scope["state"]["closing"]`) the body ends whole, and the client comes back with its Last-Event-ID. The generator is
    closed in each case; its `finally` blocks run.
    """

    events: AsyncGenerator[Event | bytes, None]
    heartbeat: float = HEARTBEAT_SECONDS
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, scope: Scope, send: Send) -> None:
        closing: asyncio.Event = scope["state"]["closing"]
        # nginx would keep events back
        headers = {"cache-control": "no-store", "x-accel-buffering": "no", **self.headers}
        await send_head(send, 200, "text/event-stream; charset=utf-8", headers, security_headers(scope))
        await send({"type": "http.response.body", "body": b": welcome\n\n", "more_body": True})
        told = asyncio.create_task(self._tell(send))
        closed = asyncio.create_task(closing.wait())
        try:
            while not (await asyncio.wait({told, closed}, timeout=self.heartbeat, return_when="FIRST_COMPLETED"))[0]:
                await _send_some(send, b":\n\n")
        finally:
            closed.cancel()
            told.cancel()
            await asyncio.wait({told})
        if not told.cancelled():
            told.result()  # what went wrong breaks the answer off
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, send: Send) -> None:
        async with aclosing(self.events) as events:
            async for event in events:
                await _send_some(send, event if isinstance(event, bytes) else event.encode())


async def _send_some(send: Send, body: bytes) -> None:
    """Send a part of the body. Raises ClientGone for a client that takes none of it."""
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": True})
    except TimeoutError:
        log.info("stream_stalled", seconds=STALLED_SECONDS)
        raise ClientGone from None
