"""All who follow a log in this process: their channels, the one change stream that wakes these, and the question who may still read.

One for an event loop. Its tasks run while anybody follows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from psycopg import Error as PsycopgError

from activity import log_async, mongo_async
from activity.errors import LogUnavailable, TooManyFollowers
from activity.tail.channel import Channel
from activity.tail.follower import Follower, Wanted
from activity.tail.watch import Watch
from tenants import directory, metrics
from tenants.context import use_tenant
from tenants.native import Caller, callers_allowed
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)

VERB: Final = "activity.read"
ASK_AFTER: Final = 1.0  # seconds from one question who may still read to the next
WATCH_WITHIN: Final = 3.0  # seconds; who comes while MongoDB is away is told so
ENDED_WITHIN: Final = 2.0  # seconds that the end of the process waits for what was cancelled
READ_AT_ONCE: Final = 8  # followers that read the log itself, since they are behind

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub()
    return found


async def close() -> None:
    """End all that the running loop has open, at the end of the process."""
    found = _hubs.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
    await mongo_async.close()


async def _position(ref: TenantRef, after: int | None, head: int) -> int:
    """Where to begin: behind the number that a client names, or at the end of the log, when it names none or one that isn't there yet.

    The log may have more than `head`, which a relay notes once the log has it: a client that was given such a number names it.
    """
    if after is None or after <= head:
        return head if after is None else after
    found = await log_async.behind(ref, after - 1, 1)
    return after if found and found[0]["seq"] == after else head


class Hub:
    """`channels` by the tenant's id."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self._followers = 0
        self._watch = Watch(self._wake)
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def follow(self, ref: TenantRef, caller: Caller, wanted: Wanted) -> AsyncIterator[Follower]:
        """A follower of a tenant's log, for the time of the block. Raises TooManyFollowers, LogUnavailable and django.db.Error."""
        follower = self._enter(ref, caller, wanted)
        try:
            # In this order: what is appended behind the number that is read here, the change stream tells of.
            await self._watching()
            head = await log_async.head_of(ref)
            follower.begin(await _position(ref, wanted.after, head))
            follower.channel.begin(head)
            yield follower
        finally:
            self._leave(follower)

    async def close(self) -> None:
        """Everybody ends, and what reads from MongoDB has ended when this returns."""
        for channel in self.channels.values():
            self._await_end(channel.close())
        self._stop()
        if self._ending:
            await asyncio.wait(self._ending, timeout=ENDED_WITHIN)

    def _enter(self, ref: TenantRef, caller: Caller, wanted: Wanted) -> Follower:
        channel = self.channels.get(ref.id)
        if self._followers >= settings.TAIL_MAX:
            raise TooManyFollowers(of_tenant=False, limit=settings.TAIL_MAX)
        if channel is not None and len(channel.followers) >= settings.TAIL_MAX_PER_TENANT:
            raise TooManyFollowers(of_tenant=True, limit=settings.TAIL_MAX_PER_TENANT)
        if channel is None or channel.ref.alias != ref.alias:
            if channel is not None:  # of a route that the tenant no longer has
                self._await_end(channel.close())
            channel = self.channels[ref.id] = Channel(ref)
        follower = Follower(channel, caller, wanted, self._reading)
        channel.followers.add(follower)
        self._count(+1)
        if not self._tasks:
            self._tasks = [_started(self._watch.run()), _started(self._ask_for_rights())]
        return follower

    def _leave(self, follower: Follower) -> None:
        channel = follower.channel
        channel.followers.discard(follower)
        self._count(-1)
        if not channel.followers:
            self._await_end(channel.close())
            if self.channels.get(channel.ref.id) is channel:
                del self.channels[channel.ref.id]
        if not self.channels:
            self._stop()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            self._await_end(task)
        self._tasks = []
        self._watch = Watch(self._wake)

    def _await_end(self, task: asyncio.Task[None] | None) -> None:
        """Have `close` wait for a task that was cancelled."""
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _count(self, change: int) -> None:
        self._followers += change
        metrics.FOLLOWERS.set(self._followers)

    def _wake(self, tenant_id: str | None) -> None:
        """Something of a tenant was appended, or, with None, it may have been of any."""
        if tenant_id is None:
            for channel in self.channels.values():
                channel.wake()
        elif tenant_id in self.channels:
            self.channels[tenant_id].wake()

    async def _watching(self) -> None:
        try:
            async with asyncio.timeout(WATCH_WITHIN):
                await self._watch.is_open.wait()
        except TimeoutError:
            raise LogUnavailable("no change stream") from None

    # --- Rights ------------------------------------------------------------------------------------------------------------

    async def _ask_for_rights(self) -> None:
        moment = time.monotonic()
        while True:
            await asyncio.sleep(max(0.1, moment + ASK_AFTER - time.monotonic()))
            channels, moment = list(self.channels.values()), time.monotonic()
            try:
                aliases = await asyncio.to_thread(directory.active_aliases, [channel.ref.id for channel in channels])
            except (DatabaseError, PsycopgError) as error:
                log.warning("tail_rights_unknown", error=type(error).__name__)
                continue
            await asyncio.gather(*(self._ask_of(channel, channel.ref.alias in aliases, moment) for channel in channels))

    async def _ask_of(self, channel: Channel, is_active: bool, moment: float) -> None:
        """End the followers who may no longer read. Those of a tenant that isn't served here any more are all of them."""
        followers = list(channel.followers)
        allowed: set[Caller] = set()
        if is_active:
            try:
                with use_tenant(channel.ref):
                    allowed = await callers_allowed({follower.caller for follower in followers}, VERB)
            except (DatabaseError, PsycopgError) as error:
                log.warning("tail_rights_unknown", tenant=channel.ref.slug, error=type(error).__name__)
                return
        ended = [follower for follower in followers if follower.caller not in allowed]
        for follower in ended:
            follower.end()
        if ended:
            log.info("tail_ended", tenant=channel.ref.slug, followers=len(ended))
        channel.rights_known(moment)


def _started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task in a context of its own: not in the tenant of the request that happens to come first."""
    return asyncio.create_task(work, context=Context())
