"""Every error of usage.

UsageError
└── DaysInvalid     days can't be told for the range that was asked for
"""

from __future__ import annotations

from tenants.errors import TenantryError


class UsageError(TenantryError):
    """Base of the errors of usage."""


class DaysInvalid(UsageError):
    """Raised when a range of days ends before it begins, or has too many. `errors` has the sentence by field."""

    status = 422

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.errors = {"from": [sentence]}
