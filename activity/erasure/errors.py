"""Every error of erasures."""

from __future__ import annotations

from activity.errors import ActivityError


class ErasureRefused(ActivityError):
    """Raised when somebody can't be erased: they are still here (409), or what was sent names nobody (422)."""

    def __init__(self, sentence: str, *, status: int = 409) -> None:
        super().__init__(sentence)
        self.status = status
        if status == 422:
            self.errors = {"subject": [sentence]}
