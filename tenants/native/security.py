"""The headers that Django's middleware puts on every answer, for the answers that don't pass it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from tenants.native.asgi import Scope

_WANTED = (SecurityMiddleware, CSPMiddleware, XFrameOptionsMiddleware)


def is_secure(scope: Scope) -> bool:
    """Whether the client came over TLS, by the same setting as in Django (SECURE_PROXY_SSL_HEADER)."""
    if settings.SECURE_PROXY_SSL_HEADER:
        name, wanted = settings.SECURE_PROXY_SSL_HEADER
        field = name.removeprefix("HTTP_").replace("_", "-").lower().encode()
        for key, value in scope["headers"]:
            if key == field:
                said: str = value.decode("latin-1")
                return said.partition(",")[0].strip() == wanted
    return bool(scope.get("scheme") in {"https", "wss"})


def security_headers(scope: Scope) -> Sequence[tuple[bytes, bytes]]:
    """Those headers for an answer to this request."""
    return _headers(is_secure(scope))


class _Request(HttpRequest):
    def is_secure(self) -> bool:
        return bool(self.META["secure"])


@cache
def _headers(secure: bool) -> Sequence[tuple[bytes, bytes]]:
    """Asked of the middleware itself, once."""
    request = _Request()
    request.META["secure"] = secure

    response: Any = HttpResponse()
    response.headers = type(response.headers)({})
    for middleware in _WANTED:
        response = middleware(lambda request: HttpResponse()).process_response(request, response)
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in response.items()]
