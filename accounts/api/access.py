"""The caller of an authenticated API request, with its type."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest

from accounts.auth import Caller


def caller(request: HttpRequest) -> Caller:
    """Who calls; set by the API's authentication, which every operation has."""
    return cast(Caller, cast(Any, request).auth)
