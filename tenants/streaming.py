"""Downloads that are made while they are sent, in constant memory, in `web` and in `stream`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from tenants.db.copying import in_blocks


def streamed(request: HttpRequest, rows: Iterator[bytes], *, content_type: str, filename: str) -> StreamingHttpResponse:
    """An answer that sends the rows as a file. What can't be begun raises here, where it can still become an error's answer.

    Django would gather a plain iterator's items into a list before it sends the first one in `stream`, so there each block is asked for
    in a thread of its own; while a slow reader reads, no thread waits.
    """
    blocks = in_blocks(rows)
    first = next(blocks, b"")
    body = _async_body(first, blocks) if isinstance(request, ASGIRequest) else _body(first, blocks)
    return StreamingHttpResponse(
        body,
        content_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{filename}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _body(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks


async def _async_body(first: bytes, blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        while block := await asyncio.to_thread(next, blocks, b""):
            yield block
    finally:
        # In a thread: to end a COPY that wasn't read to its end takes a round trip. Shielded: the client may be gone.
        await asyncio.shield(asyncio.to_thread(blocks.close))  # type: ignore[attr-defined]
