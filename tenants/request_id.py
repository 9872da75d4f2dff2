"""Every request has an id and one line in the log.

The id is the client's when it sends a sane X-Request-ID, else a new UUIDv7. It is in every answer, in every log line
written on the way, in the activity events and in the headers of the tasks that the request starts.

django-structlog's own middleware is not used: it writes the whole URL (sign-in links among them), takes any
X-Request-ID or none, and asks for `request.user` at the end of each request, which costs two queries on requests that
need no user.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import structlog
from django.conf import settings
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars

from tenants.ids import new_id

log = structlog.get_logger("tenants.requests")

HEADER = "X-Request-ID"
NO_ROUTE = "(none)"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_PROBES = ("/live", "/ready")


def accepted_request_id(sent: str | None) -> str:
    """The id that the client sent, when it is 8 to 64 letters, digits, dots, hyphens, underscores; else a new one."""
    return sent if sent and _SANE.fullmatch(sent) else str(new_id())


def route_of(request: HttpRequest) -> str:
    """The URL pattern that served the request. It is logged and measured, and not the path, which may hold a secret."""
    match = request.resolver_match
    if match is not None:
        return f"/{match.route.removeprefix('^').lstrip('/')}"
    return request.path if request.path in _PROBES else NO_ROUTE


class RequestIdMiddleware:
    """Outermost: gives the request its id, and logs one line when the answer is complete, its body included."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.quiet = (*_PROBES, "/metrics", str(settings.STATIC_URL))

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = accepted_request_id(request.headers.get(HEADER))
        cast(Any, request).id = request_id
        clear_contextvars()  # the thread's last request may have left its facts behind
        bind_contextvars(request_id=request_id)
        try:
            response = self.get_response(request)
            response[HEADER] = request_id
            if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
                self._log_after_body(request, response, started)
            else:
                self._log(request, response, started)
        finally:
            clear_contextvars()
        return response

    def _log_after_body(self, request: HttpRequest, response: StreamingHttpResponse, started: float) -> None:
        content = response.streaming_content

        def body(parts: Iterator[bytes]) -> Iterator[bytes]:
            with bound_contextvars(request_id=cast(Any, request).id):
                try:
                    yield from parts
                finally:
                    self._log(request, response, started)

        async def async_body(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            try:
                async for part in parts:
                    yield part
            finally:
                self._log(request, response, started)

        if response.is_async:
            response.streaming_content = async_body(cast(AsyncIterator[bytes], content))
        else:
            response.streaming_content = body(cast(Iterator[bytes], content))

    def _log(self, request: HttpRequest, response: HttpResponseBase, started: float) -> None:
        status = response.status_code
        facts: dict[str, Any] = {
            "method": request.method,
            "route": route_of(request),
            "status": status,
            "duration_ms": round((time.perf_counter() - started) * 1000, 1),
            "request_id": cast(Any, request).id,
        }
        ref = getattr(request, "tenant", None)
        if ref is not None:
            facts["tenant"] = ref.slug
        if status >= 500:
            write = log.error
        elif request.path.startswith(self.quiet):
            write = log.debug
        else:
            write = log.info
        write("request", **facts)
