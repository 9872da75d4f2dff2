"""One tenant's log as it grows, read once for all who follow it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextvars import Context
from itertools import count, islice
from typing import TYPE_CHECKING, Final

import structlog
from django.db import Error as DatabaseError
from psycopg import Error as PsycopgError

from activity import log_async
from activity.errors import LogUnavailable
from activity.tail.frames import Frame
from tenants.refs import TenantRef

if TYPE_CHECKING:
    from activity.tail.follower import Follower

log = structlog.get_logger(__name__)

KEPT: Final = 500  # frames; who is further behind reads the log
PORTION: Final = 200  # numbers of one question
ERASED: Final = "member.erased"  # the tombstone of activity.erasure
AGAIN_AFTER: Final = 1.0  # seconds, when the log couldn't be read
# Seconds for which the followers' rights count as they were when they were asked for last. Without an answer nothing is given out.
RIGHTS_HOLD: Final = 2.0


class Channel:
    """`head` is the last number that was read; all up to it are in the log, and the last of them are kept as frames.

    `moved` is set whenever there is something to look at, and another event takes its place: take it before you look.
    """

    def __init__(self, ref: TenantRef) -> None:
        self.ref = ref
        self.head = 0
        self.followers: set[Follower] = set()
        self.moved = asyncio.Event()
        self._frames: deque[Frame] = deque(maxlen=KEPT)
        self._rights_of = time.monotonic()
        self._woken = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._is_closed = False

    def begin(self, head: int) -> None:
        """Follow the log from `head` on, or look whether it is so far, when it is followed already."""
        if self._reader is None:
            self.head = head
            # In a context of its own: not in that of the request that happens to come first.
            self._reader = asyncio.create_task(self._read(), context=Context())
        self.wake()

    def wake(self) -> None:
        """Something may have been appended."""
        self._woken.set()

    def close(self) -> asyncio.Task[None] | None:
        """Stop reading. Whoever follows ends. Returns the task that ends, for those who must wait for it."""
        self._is_closed = True
        for follower in self.followers:
            follower.end()
        if self._reader is not None:
            self._reader.cancel()
        return self._reader

    def stir(self) -> None:
        """Have every follower look."""
        self.moved.set()
        self.moved = asyncio.Event()

    @property
    def has_rights(self) -> bool:
        """Whether what is known of the followers' rights is fresh enough to give something out."""
        return time.monotonic() - self._rights_of <= RIGHTS_HOLD

    def rights_known(self, moment: float) -> None:
        """The rights of all followers are as they were at this moment of the monotonic clock."""
        was_waiting = not self.has_rights
        self._rights_of = moment
        if was_waiting:
            self.stir()

    def behind(self, seq: int) -> list[Frame] | None:
        """The frames behind a number; None when they aren't kept any more."""
        missing = self.head - seq
        if missing > len(self._frames):
            return None
        return list(islice(self._frames, len(self._frames) - missing, None))

    async def _read(self) -> None:
        while not self._is_closed:
            await self._woken.wait()
            self._woken.clear()
            try:
                while await self._advance():
                    pass
            except (LogUnavailable, DatabaseError, PsycopgError) as error:
                log.warning("tail_waits", tenant=self.ref.slug, error=type(error).__name__)
                await asyncio.sleep(AGAIN_AFTER)
                self.wake()
            except Exception:
                log.exception("tail_failed", tenant=self.ref.slug)
                await asyncio.sleep(AGAIN_AFTER)
                self.wake()

    async def _advance(self) -> bool:
        """Read what comes behind the head; returns whether there may be more."""
        documents = await log_async.behind(self.ref, self.head, PORTION)
        fresh = [row for row, seq in zip(documents, count(self.head + 1), strict=False) if row["seq"] == seq]
        if fresh:
            events = await log_async.items(self.ref, fresh)
            if any(event["action"] == ERASED for event in events):
                self._frames.clear()  # who is behind reads the log, in which that person isn't any more
            self._frames.extend(Frame(event, row["terms"]) for event, row in zip(events, fresh, strict=True))
            self.head = fresh[-1]["seq"]
            self.stir()
        elif documents:
            return await self._pass_gap()
        return len(documents) == PORTION or len(fresh) < len(documents)

    async def _pass_gap(self) -> bool:
        """Numbers are missing behind the head. Up to where Postgres calls the log complete they have left it, and aren't waited for."""
        appended = await log_async.head_of(self.ref)
        if appended <= self.head:
            return False
        self._frames.clear()
        self.head = appended
        self.stir()
        return True
