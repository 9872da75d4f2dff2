"""gunicorn's gthread worker, which takes what already waits at its door before it closes it."""

from __future__ import annotations

import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]


class DrainingThreadWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """On SIGTERM the original stops accepting and closes its listener once the last request is done.

    Clients that connect in between wait in the kernel's queue and are reset at the end, though they sent their request to a
    server that still worked. Here the queue is emptied first and the listener closed at once: who comes later is refused, which is
    what a proxy repeats elsewhere. Other processes that hold the same listener (a reload's new workers) go on.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            while _has_waiting(listener):
                self.accept(listener)
            listener.close()


def _has_waiting(listener: Any) -> bool:
    return bool(select.select([listener], [], [], 0)[0])
