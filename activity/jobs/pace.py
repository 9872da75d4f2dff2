"""How fast a job goes, by what it has done lately."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

LATELY: Final = 10.0  # seconds
MARK_EVERY: Final = 0.25  # seconds: a job may make thousands of steps in one
SOONEST: Final = 1.0  # seconds after which a rate says something


class Pace:
    """The progress of one attempt over the last LATELY seconds."""

    def __init__(self, done: int) -> None:
        self._marks = deque([(time.monotonic(), done)])

    def rate(self, done: int) -> float | None:
        """Rows a second, now that so many are done; None in the first second, and while nothing goes forward."""
        now = time.monotonic()
        while len(self._marks) > 1 and now - self._marks[1][0] >= LATELY:
            self._marks.popleft()
        since, former = self._marks[0]
        if now - self._marks[-1][0] >= MARK_EVERY:
            self._marks.append((now, done))
        if now - since < SOONEST or done <= former:
            return None
        return (done - former) / (now - since)
