"""The answer of `GET /activity/stream`: events without an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from activity import log_async
from activity.errors import LastEventUnknown
from activity.schemas import FollowFilter
from activity.tail.follower import Wanted
from activity.tail.hub import VERB, hub
from tenants.native import Events, NativeRequest, Scope, Send

_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Follow:
    """Follows a tenant's log for a client, until it leaves, may no longer read, or the process stops. `headers` are further ones."""

    request: NativeRequest
    filters: FollowFilter
    headers: Mapping[str, str]

    async def send(self, scope: Scope, send: Send) -> None:
        self.request.caller.require(VERB)
        query = await log_async.widened(self.request.ref, self.filters.query())
        wanted = Wanted(query, self._after(), self.filters.format)
        async with hub().follow(self.request.ref, self.request.caller, wanted) as follower:
            await Events(follower.blocks(), headers=self.headers).send(scope, send)

    def _after(self) -> int | None:
        """Where the client was. One that lost its stream says so in Last-Event-ID, while its URL still has what it began with."""
        last = self.request.header("last-event-id")
        if not last:
            return self.filters.after
        if not (last.isascii() and last.isdecimal()) or int(last) >= _LARGEST:
            raise LastEventUnknown()
        return int(last)
