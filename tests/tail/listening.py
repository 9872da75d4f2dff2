"""A client of server-sent events on a bare socket: what it was sent, and how that ended."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Any

import orjson

PATH = "/api/v1/activity/stream"


@dataclass
class Listener:
    """An open request. `last` is what a browser would send as Last-Event-ID; `is_whole` tells, at the end, that nothing broke it off."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    last: str = ""
    is_whole: bool = False
    _text: bytes = b""

    @classmethod
    async def open(
        cls, url: str, query: str = "", *, host: str, receive_buffer: int | None = None, **headers: str
    ) -> Listener:
        """Ask; with `receive_buffer` the system takes no more than about so many bytes that nobody reads."""
        name, port = url.removeprefix("http://").split(":")
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (name, int(port)))
        reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 16)
        lines = [f"GET {PATH}{query} HTTP/1.1", f"Host: {host}"]
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        return cls(reader, writer, int(head[0].split()[1]), {key.lower(): value for key, value in fields.items()})

    async def next(self, seconds: float = 20.0) -> tuple[int, str]:
        """The next event: its id and its data. Raises EOFError at the end, and TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                block = await self._block()
                lines = [line.partition(": ") for line in block.decode().split("\n")]
                for name, _, value in lines:
                    if name == "id":
                        self.last = value
                data = [value for name, _, value in lines if name == "data"]
                if data:
                    return int(self.last), "\n".join(data)

    async def take(self, count: int, seconds: float = 20.0) -> list[int]:
        """The numbers of the next so many events."""
        return [(await self.next(seconds))[0] for _ in range(count)]

    async def event(self, seconds: float = 20.0) -> dict[str, Any]:
        """The next event as the API shows it."""
        found: dict[str, Any] = orjson.loads((await self.next(seconds))[1])
        return found

    async def end(self, seconds: float = 20.0) -> list[int]:
        """What comes until the server ends the stream."""
        numbers: list[int] = []
        while True:
            try:
                numbers.append((await self.next(seconds))[0])
            except EOFError:
                self.cut()
                return numbers

    async def body(self) -> dict[str, Any]:
        """The body of an answer that isn't a stream."""
        found: dict[str, Any] = orjson.loads(await self.reader.readexactly(int(self.headers["content-length"])))
        return found

    def cut(self) -> None:
        """Leave without a word."""
        self.writer.transport.abort()

    async def _block(self) -> bytes:
        while b"\n\n" not in self._text:
            await self._chunk()
        block, _, self._text = self._text.partition(b"\n\n")
        return block

    async def _chunk(self) -> None:
        try:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            self._text += (await self.reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError from None
        if not size:
            self.is_whole = True
            raise EOFError
