"""What a native route raises, as an answer: the async twin of the table in config/api.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from psycopg import OperationalError as PsycopgOperationalError

from tenants.errors import TenantryError


class NotNative(Exception):
    """Raised by a native route, before anything was sent, to have Django answer: it refuses, redirects and explains as `web` does."""


class ClientGone(Exception):
    """Raised in the place of a route's work when its client has closed the connection."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document to be."""

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Any = None
    members: Mapping[str, Any] = field(default_factory=dict)

    def document(self, request_id: str) -> dict[str, Any]:
        """The members of RFC 9457, and ours."""
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        errors = {} if self.errors is None else {"errors": self.errors}
        return {**body, "request_id": request_id, **self.members, **errors}


def problem_of(error: Exception) -> Problem | None:
    """The answer to an error that was to be expected; None for any other."""
    if isinstance(error, TenantryError) and (error.status < 500 or error.status == 503):
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        retry_after = getattr(error, "retry_after", None) or (1 if error.status == 503 else None)
        return Problem(
            error.status,
            error.message,
            {**headers, **_retry_after(retry_after)},
            getattr(error, "errors", None),
            getattr(error, "members", {}),
        )
    # A database, or the way to it, is away or full: the same request may be sent again.
    if isinstance(error, OperationalError | InterfaceError | PsycopgOperationalError):
        return Problem(503, "Try again in a moment.", _retry_after(getattr(error, "retry_after", 1)))
    return None


UNEXPECTED = Problem(500, "Something went wrong here. Tell us the request id if it stays.")


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(max(1, round(seconds)))}
