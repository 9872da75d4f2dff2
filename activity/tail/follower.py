"""One client that follows a tenant's log: what it asked for, how far it is, and what goes out to it next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Final

import structlog

from activity import log_async
from activity.errors import LogUnavailable
from activity.log import Walk
from activity.search import Query
from activity.tail.channel import AGAIN_AFTER, Channel
from activity.tail.frames import Format, Frame, bookmark
from tenants.errors import SubjectKeysUnavailable
from tenants.native import Caller
from tenants.pages import encode_cursor

log = structlog.get_logger(__name__)

# Seconds of silence after which a client is told how far it is.
BOOKMARK_AFTER: Final = 15.0
# Milliseconds after which a client that lost its stream comes back, spread so that hundreds don't come at once.
RETRY: Final = (1_000, 3_000)
CATCH_UP: Final = 200  # events that are read at once for a client that is behind


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for: events that fit `query`, behind the number `after` (None: from now on)."""

    query: Query
    after: int | None
    format: Format


class Follower:
    """`position` is the number of the last event that it was given or that isn't for it."""

    def __init__(self, channel: Channel, caller: Caller, wanted: Wanted, reading: asyncio.Semaphore) -> None:
        self.channel = channel
        self.caller = caller
        self.position = 0
        self._query = replace(wanted.query, order="oldest")
        self._conditions = wanted.query.conditions()
        self._form = wanted.format
        self._reading = reading
        self._is_over = False

    def begin(self, position: int) -> None:
        """Go on behind this number."""
        self.position = position

    def end(self) -> None:
        """Give out nothing more."""
        self._is_over = True
        self.channel.stir()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """What goes out, block by block: as many events as there are by then. A client that is slow gets larger blocks, and no queue."""
        channel = self.channel
        told = self.position
        yield bookmark(told, retry=random.randint(*RETRY))  # noqa: S311  no secret
        while not self._is_over:
            moved = channel.moved
            if self.position >= channel.head or not self._may_give_out():
                if not await _is_set(moved, BOOKMARK_AFTER) and told != self.position:
                    told = self.position
                    yield bookmark(told)
                continue
            head, frames = channel.head, channel.behind(self.position)
            if frames is None:
                head, frames = await self._from_log(head)
                if not self._may_give_out():
                    continue  # what was read is read again once it may be given out
            self.position = head
            block = b"".join(frame.encoded(self._form) for frame in frames if frame.fits(self._conditions))
            if block:
                told = self.position
                yield block

    def _may_give_out(self) -> bool:
        """Asked anew after whatever takes time."""
        return not self._is_over and self.channel.has_rights

    async def _from_log(self, head: int) -> tuple[int, list[Frame]]:
        """The next frames of a client that is further behind than the channel's, and the number up to which they go."""
        walk = Walk(self.channel.ref, head=head, query=self._query, cursor=encode_cursor(self.position + 1))
        try:
            async with self._reading:
                documents = await log_async.take(walk, CATCH_UP)
                events = await log_async.items(self.channel.ref, documents)
        except (LogUnavailable, SubjectKeysUnavailable) as error:
            log.warning("tail_waits", tenant=self.channel.ref.slug, error=error.reason)
            await asyncio.sleep(AGAIN_AFTER)
            return self.position, []
        frames = [Frame(event, row["terms"]) for event, row in zip(events, documents, strict=True)]
        return min(walk.position - 1, head), frames


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
