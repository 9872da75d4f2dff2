"""What a native route gives back. An answer sends itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from django.utils.http import content_disposition_header

from tenants.db import aio
from tenants.native.asgi import Scope, Send
from tenants.native.security import security_headers

Headers = list[tuple[bytes, bytes]]

# Seconds for which a client may take nothing of what it downloads: it holds a connection of the pool meanwhile.
STALLED_SECONDS = 30.0


class Answer(Protocol):
    """What a native route gives back."""

    async def send(self, scope: Scope, send: Send) -> None:
        """Send the head and the body."""


async def send_json(scope: Scope, send: Send, content: Any, *, status: int = 200) -> None:
    """A whole answer of JSON that is nobody's, not to be cached."""
    body = orjson.dumps(content)
    fields = {"cache-control": "no-store", "x-content-type-options": "nosniff", "content-length": str(len(body))}
    await send_head(send, status, "application/json", fields)
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def send_head(
    send: Send, status: int, content_type: str, headers: Mapping[str, str], more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """The head of an answer."""
    fields = [(b"content-type", content_type.encode())]
    fields += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *more]})


@dataclass(frozen=True, slots=True)
class Json:
    """JSON of a tenant, as the API of `web` writes it; `headers` are further ones."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"

    async def send(self, scope: Scope, send: Send) -> None:
        body = orjson.dumps(self.content, option=orjson.OPT_UTC_Z)
        fields = {**self.headers, "content-length": str(len(body))}
        await send_head(send, self.status, self.content_type, fields, security_headers(scope))
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is sent while it is made: the blocks of an async generator, at constant memory.

    What is wrong by the first block is told before the head is out; what fails after that breaks the connection off, so that no client
    takes a part for the whole.
    """

    blocks: AsyncGenerator[bytes, None]
    content_type: str = "text/csv; charset=utf-8"
    filename: str = ""

    async def send(self, scope: Scope, send: Send) -> None:
        async with aclosing(self.blocks) as blocks:
            block = await anext(blocks, b"")
            disposition = content_disposition_header(True, self.filename) if self.filename else None
            headers = {"cache-control": "no-store", **({"content-disposition": disposition} if disposition else {})}
            await send_head(send, 200, self.content_type, headers, security_headers(scope))
            while block:
                async with asyncio.timeout(STALLED_SECONDS):
                    await send({"type": "http.response.body", "body": block, "more_body": True})
                block = await anext(blocks, b"")
        await send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True, slots=True)
class Copy:
    """A download of the output of a `COPY … TO STDOUT`, sent while Postgres writes it. `timeout` in seconds, as of `aio.copy`."""

    statement: str
    params: Sequence[Any] = ()
    content_type: str = "text/csv; charset=utf-8"
    filename: str = ""
    timeout: float | None = None

    async def send(self, scope: Scope, send: Send) -> None:
        blocks = aio.copy(self.statement, self.params, timeout=self.timeout)
        await Download(blocks, self.content_type, self.filename).send(scope, send)
