"""A request's messages from the server, for several who listen: whoever watches for the end takes nothing from the others."""

from __future__ import annotations

import asyncio
from collections import deque

from tenants.native.asgi import Message, Receive


class Receiver:
    """ASGI's `receive` of one request. gunicorn's own counts as disconnected once somebody stopped waiting for it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen: deque[Message] = deque()
        self._coming: asyncio.Future[Message] | None = None

    async def __call__(self) -> Message:
        """The next message."""
        return self._seen.popleft() if self._seen else await self._next()

    async def disconnected(self) -> None:
        """Return when the client is gone. What comes before is kept; so this is for requests without a large body."""
        while not self._seen or self._seen[-1]["type"] != "http.disconnect":
            self._seen.append(await self._next())

    async def _next(self) -> Message:
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._receive())
        message = await asyncio.shield(self._coming)
        self._coming = None
        return message

    def close(self) -> None:
        """Stop listening, at the end of the request."""
        if self._coming is not None:
            self._coming.cancel()
