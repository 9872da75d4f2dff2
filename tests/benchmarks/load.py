"""Clients by the hundred, in one event loop, with so little work for each that the server is what is measured."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field


@dataclass
class Load:
    """What clients saw. `answers` counts those of status 200, `others` the rest; `times` in seconds."""

    answers: int = 0
    others: int = 0
    times: list[float] = field(default_factory=list)


async def client(
    address: str, path: str, host: str, load: Load, *, until: float, since: float = 0.0, pause: float = 0.0
) -> None:
    """Ask for `path` again and again on one connection, `pause` seconds after each answer.

    What ends between the monotonic times `since` and `until` counts.
    """
    name, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer anything\r\n\r\n".encode()
    while time.monotonic() < until:
        started = time.monotonic()
        writer.write(head)
        fields = await reader.readuntil(b"\r\n\r\n")
        low = fields.lower()
        await reader.readexactly(int(low.split(b"content-length: ")[1].split(b"\r\n")[0]))
        ended = time.monotonic()
        if since <= ended < until:
            if fields.split(b" ", 2)[1] == b"200":
                load.answers += 1
                load.times.append(ended - started)
            else:
                load.others += 1
        if b"connection: close" in low:
            writer.close()
            reader, writer = await asyncio.open_connection(name, int(port))
        if pause:
            await asyncio.sleep(pause)
    writer.close()


async def run(
    address: str, path: str, host: str, *, clients: int, seconds: float, warm_up: float = 2.0, pause: float = 0.0
) -> Load:
    """So many clients at once for so many seconds, after a time to warm up."""
    load = Load()
    since = time.monotonic() + warm_up
    until = since + seconds
    await asyncio.gather(
        *(client(address, path, host, load, since=since, until=until, pause=pause) for _ in range(clients))
    )
    return load
