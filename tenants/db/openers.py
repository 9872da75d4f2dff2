"""The threads that open connections for a pool's line: each ends when there is nothing more to open."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from tenants.db.books import Place

# Threads of one pool, at most.
MAX_OPENERS = 4


class Openers:
    """The places that are booked for the line and that no thread has begun to open in, and the threads that are at it.

    `is_wanted` is asked under the pool's lock whether a place is still to be opened, and frees it when it isn't. `open_place` opens a
    connection in it, outside the lock, and raises nothing.
    """

    def __init__(
        self,
        pool: str,
        lock: threading.Lock,
        is_wanted: Callable[[Place], bool],
        open_place: Callable[[Place], None],
    ) -> None:
        self._pool = pool
        self._lock = lock
        self._is_wanted = is_wanted
        self._open_place = open_place
        self._places: deque[Place] = deque()
        self._running = 0

    def book(self, place: Place) -> None:
        """Have a connection opened in a place. To be called under the lock, and `start` after it."""
        self._places.append(place)

    def start(self) -> None:
        """Start as many threads as there are places for, outside the lock."""
        if not self._places:
            return
        with self._lock:
            new = min(len(self._places), MAX_OPENERS - self._running)
            self._running += new
        for _ in range(new):
            try:
                threading.Thread(target=self._run, name=f"pool-{self._pool}", daemon=True).start()
            except RuntimeError:  # there are too many threads, or the interpreter is ending
                self._run()

    @property
    def is_at_rest(self) -> bool:
        return not (self._places or self._running)

    def _run(self) -> None:
        while (place := self._next()) is not None:
            self._open_place(place)
            self.start()

    def _next(self) -> Place | None:
        with self._lock:
            while self._places:
                place = self._places.popleft()
                if self._is_wanted(place):
                    return place
            self._running -= 1
            return None
