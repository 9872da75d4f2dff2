"""Server-sent events: an answer without an end that holds no thread and, between two events, no connection to a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from tenants.native.answers import send_head
from tenants.native.asgi import Scope, Send
from tenants.native.security import security_headers

# Seconds of silence after which a comment is sent: proxies cut what says nothing for a minute, and a client that is gone shows.
HEARTBEAT_SECONDS = 15.0


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

    At SIGTERM (`scope["state"]["closing"]`) the body ends whole, and the client comes back with its Last-Event-ID. The generator is
    closed in each case; its `finally` blocks run.
    """

    events: AsyncGenerator[Event, None]
    heartbeat: float = HEARTBEAT_SECONDS

    async def send(self, scope: Scope, send: Send) -> None:
        closing: asyncio.Event = scope["state"]["closing"]
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx would keep events back
        await send_head(send, 200, "text/event-stream; charset=utf-8", headers, security_headers(scope))
        await send({"type": "http.response.body", "body": b": welcome\n\n", "more_body": True})
        told = asyncio.create_task(self._tell(send))
        closed = asyncio.create_task(closing.wait())
        try:
            while not (await asyncio.wait({told, closed}, timeout=self.heartbeat, return_when="FIRST_COMPLETED"))[0]:
                await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
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
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
