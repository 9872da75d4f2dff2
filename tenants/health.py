"""`/live` and `/ready`: whether the process is up, and whether what it needs is.

Both answer on any Host, before it is resolved: a probe knows addresses, not tenants. `/ready` says `ok`, `degraded` (a
tenants' server, MongoDB or Valkey is away: others are served, so the process stays in) or, with 503, `down` (the
control database is away: no host is resolved). `/ready?detail` says more, on the control host, to this machine or for
an operator's token.
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from tenants import clients
from tenants.db import pools
from tenants.native import Receive, Scope, Send, send_json
from tenants.probes import Report, probe_all

# Seconds for which a report serves everyone who asks: whoever asks often doesn't make the servers answer often.
REPORT_SECONDS = 1.0
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")

_latest: tuple[Report, float] | None = None
_lock = threading.Lock()
_probing: asyncio.Task[Report] | None = None


# --- The report -------------------------------------------------------------------------------------------------------


def _fresh() -> Report | None:
    if _latest is not None and time.monotonic() - _latest[1] < REPORT_SECONDS:
        return _latest[0]
    return None


async def _probe_and_keep() -> Report:
    global _latest
    report = await probe_all()
    _latest = (report, time.monotonic())
    return report


async def report() -> Report:
    """The latest report, at most a second old. Those who ask at once share one round of probes."""
    global _probing
    fresh = _fresh()
    if fresh is not None:
        return fresh
    if _probing is None or _probing.done():
        _probing = asyncio.create_task(_probe_and_keep())
    return await asyncio.shield(_probing)


def report_sync() -> Report:
    """The same for a thread without an event loop."""
    with _lock:
        fresh = _fresh()
        if fresh is not None:
            return fresh
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(_probe_and_keep())
        finally:
            loop.close()  # not asyncio.run, which waits for a look-up of a name that hangs in a thread


def _status(found: Report) -> int:
    return 503 if found.state == "down" else 200


# --- Native routes (stream) -------------------------------------------------------------------------------------------


def is_bare(scope: Scope) -> bool:
    """Whether `/ready` is asked for without details, which Django answers."""
    return b"detail" not in scope["query_string"]


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """`GET /live` for `stream`."""
    await send_json(scope, send, {"state": "ok"})


async def ready(scope: Scope, receive: Receive, send: Send) -> None:
    """`GET /ready` for `stream`."""
    found = await report()
    await send_json(scope, send, {"state": found.state}, status=_status(found))


# --- Django (web) -----------------------------------------------------------------------------------------------------


class HealthMiddleware:
    """Answers `/live` and a bare `/ready` before the host is looked up."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path not in {"/live", "/ready"} or request.method not in {"GET", "HEAD"}:
            return self.get_response(request)
        if request.path == "/live":
            return _json({"state": "ok"})
        if "detail" in request.GET:
            return self.get_response(request)
        found = report_sync()
        return _json({"state": found.state}, status=_status(found))


def ready_detail(request: HttpRequest) -> HttpResponse:
    """`GET /ready?detail` on the control host: each part's state and numbers, and the pools and clients of this process."""
    if not may_see_details(request):
        return refuse_details(request)
    found = report_sync()
    content: dict[str, Any] = {
        "state": found.state,
        "control": found.control.as_dict(),
        "servers": [part.as_dict() for part in found.servers],
        **{part.name: part.as_dict() for part in found.others},
        "pools": {pool.name: pool.get_stats() for pool in pools.of_every_kind()},
        "clients": clients.status(),
    }
    return _json(content, status=_status(found))


def may_see_details(request: HttpRequest) -> bool:
    """Whether the request comes from this very machine, or with an operator's token.

    A proxy on this machine makes everybody look local, so a request that says that it was forwarded is not.
    """
    try:
        is_local = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a Unix socket has no address
        is_local = False
    if is_local and not any(request.META.get(name) for name in _FORWARDED):
        return True
    return bool(import_string(settings.TENANTS_OPERATOR_CHECK)(request))


def refuse_details(request: HttpRequest) -> HttpResponse:
    """401: an operator's token is needed."""
    from tenants.problem import problem_response

    detail = "Send an operator's token in the Authorization header."
    return problem_response(request, status=401, detail=detail, headers={"WWW-Authenticate": "Bearer"})


def _json(content: dict[str, Any], *, status: int = 200) -> JsonResponse:
    response = JsonResponse(content, status=status, headers={"Cache-Control": "no-store"})
    response["Content-Length"] = str(len(response.content))  # CommonMiddleware, which would add it, comes later
    return response
