"""The one change stream of a process, over the events of all tenants. It only wakes: it carries no event, and may break at any time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import structlog
from pymongo.errors import PyMongoError

from activity import mongo_async

log = structlog.get_logger(__name__)

PIPELINE: Final[list[dict[str, Any]]] = [
    {"$match": {"operationType": "insert"}},
    {"$project": {"fullDocument.tenant": 1}},
]
FIRST_PAUSE: Final = 0.2  # seconds before it is opened again, each time twice as many
LONGEST_PAUSE: Final = 5.0
AWAIT: Final = 1_000  # milliseconds for which the server waits for something to tell


class Watch:
    """Calls `wake` with the id of a tenant of which something was appended, or with None when that may be true of any.

    The latter each time the stream is open again, and each time it couldn't be opened: what was appended meanwhile, nobody tells.
    """

    def __init__(self, wake: Callable[[str | None], None]) -> None:
        self.wake = wake
        self.is_open = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with await mongo_async.events().watch(PIPELINE, max_await_time_ms=AWAIT) as changes:
                    self.is_open.set()
                    self.wake(None)
                    pause = FIRST_PAUSE
                    async for change in changes:
                        self.wake(change["fullDocument"]["tenant"])
            except PyMongoError as error:
                log.warning("tail_watch_lost", error=type(error).__name__)
            except Exception:
                log.exception("tail_watch_failed")
            self.is_open.clear()
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  no secret
            pause = min(2 * pause, LONGEST_PAUSE)
            self.wake(None)
