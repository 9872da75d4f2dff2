"""gunicorn's gthread worker, which stays with a busy connection, and takes what waits at its door before it closes it."""

from __future__ import annotations

import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

# Seconds that a thread waits for its connection's next request. A proxy that is busy sends it within this time.
STAY_SECONDS = 0.002


class DrainingThreadWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Stays with a connection; on SIGTERM answers who came before the door closed.

    The original gives a connection back to its main thread after each answer, which gives it to a thread again when it is readable:
    two changes of thread for each request, each of them a wait for the interpreter's lock. Here the thread waits a moment itself, as
    long as no other connection waits for a thread, and no more than half of the threads do so.

    On SIGTERM the original stops accepting and closes its listener once the last request is done.

    Clients that connect in between wait in the kernel's queue and are reset at the end, though they sent their request to a
    server that still worked. Here the queue is emptied first and the listener closed at once: who comes later is refused, which is
    what a proxy repeats elsewhere. Other processes that hold the same listener (a reload's new workers) go on.
    """

    def init_process(self) -> None:
        self._staying = 0
        self._may_stay = self.cfg.threads // 2
        super().init_process()

    def handle(self, conn: Any) -> Any:
        result = super().handle(conn)
        while result is True and self._sends_more(conn):
            result = super().handle(conn)
        return result

    def _sends_more(self, conn: Any) -> bool:
        """Whether the next request on the connection is here, or comes within a moment that nobody else needs the thread for."""
        if not self.alive or self.tpool._work_queue.qsize() or self._staying >= self._may_stay:
            return False
        self._staying += 1  # threads may miss each other's count: it is a measure, not a promise
        try:
            return bool(select.select([conn.sock], [], [], STAY_SECONDS)[0])
        finally:
            self._staying -= 1

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
