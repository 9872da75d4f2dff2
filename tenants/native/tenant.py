"""The way of a native request into its tenant: host to tenant, the tenant entered, who calls, and the route's answer.

What needs a page, a redirect or an explanation (an unknown host, a suspended organisation, nobody who is signed in) is left to
Django, which answers it as it does in `web`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.http import parse_cookie
from django.http.request import split_domain_port
from django.utils.module_loading import import_string
from structlog.contextvars import bound_contextvars

from tenants import directory, usage
from tenants.context import use_tenant
from tenants.errors import TenantNotFound
from tenants.middleware import is_control_host
from tenants.native.answers import Answer
from tenants.native.asgi import Application, Receive, Scope, Send
from tenants.native.problems import ClientGone, NotNative
from tenants.native.receiver import Receiver
from tenants.native.security import is_secure
from tenants.refs import TenantRef

_looking_up: dict[str, asyncio.Task[TenantRef]] = {}


class Caller(Protocol):
    """Whoever was authenticated. Who that is and what they may do is decided above this app."""

    def require(self, verb: str) -> object:
        """Return when the verb is allowed, and raise when it isn't."""


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """An authenticated request of a tenant, which is active for as long as the answer lasts."""

    scope: Scope
    ref: TenantRef
    caller: Caller
    path_params: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """A header's value, None when it was sent never or more than once."""
        return one_header(self.scope, name)

    def query(self) -> dict[str, str]:
        """The query's parameters; the last of several counts. Raises NotNative for more than Django allows."""
        text = self.scope["query_string"].decode("latin-1")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=settings.DATA_UPLOAD_MAX_NUMBER_FIELDS)
        except ValueError:
            raise NotNative from None
        return dict(pairs)


Handler = Callable[[NativeRequest], Awaitable[Answer]]


def tenant_route(handler: Handler, *, takes_sessions: bool = False) -> Application:
    """A route's application: `handler` is called inside the tenant, with the caller that a token names.

    The token is looked up by settings.TENANTS_NATIVE_AUTHENTICATION, a coroutine function of the Authorization header that answers a
    Caller or raises. With `takes_sessions`, for routes that only read, a request without that header may bring a session's cookie: that
    is TENANTS_NATIVE_SESSIONS's, which answers None for nobody. When the client leaves, whatever runs is cancelled, queries at
    the server too.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        authorization = one_header(scope, "authorization")
        session = _session_of(scope) if authorization is None and takes_sessions else None
        if (authorization is None and session is None) or (settings.SECURE_SSL_REDIRECT and not is_secure(scope)):
            raise NotNative
        ref = await tenant_of(scope)
        scope["state"]["tenant"] = ref.slug
        with bound_contextvars(tenant=ref.slug), use_tenant(ref):
            async with _while_client_stays(receive):
                if session is None:
                    caller = await import_string(settings.TENANTS_NATIVE_AUTHENTICATION)(authorization)
                else:
                    caller = await import_string(settings.TENANTS_NATIVE_SESSIONS)(session)
                if caller is None:
                    raise NotNative
                usage.take_request()
                try:
                    answer = await handler(NativeRequest(scope, ref, caller, scope.get("path_params", {})))
                except NotNative:
                    usage.count(ref, requests=-1)  # Django, which answers it, counts it too
                    raise
                await answer.send(scope, send)

    return application


async def callers_allowed(callers: Collection[Caller], verb: str) -> set[Caller]:
    """Those of these callers of the active tenant who may still do what the verb says, for answers that last.

    Asked of settings.TENANTS_NATIVE_CALLERS. Raises django.db.Error.
    """
    allowed: set[Caller] = await import_string(settings.TENANTS_NATIVE_CALLERS)(callers, verb)
    return allowed


def _session_of(scope: Scope) -> str | None:
    """The session cookie's value, if there is one that Django would take."""
    cookies = parse_cookie("; ".join(value.decode("latin-1") for key, value in scope["headers"] if key == b"cookie"))
    return cookies.get(settings.SESSION_COOKIE_NAME) or None


async def tenant_of(scope: Scope) -> TenantRef:
    """The active tenant that the request's host names. Raises NotNative for any other host.

    What the directory remembers is used at once. What it would have to read is refused by Django, which connects in no event
    loop, and read in a thread.
    """
    host, _ = split_domain_port(one_header(scope, "host") or "")
    host = host.removesuffix(".")
    if not host or not host.isascii() or is_control_host(host):
        raise NotNative
    try:
        try:
            ref = directory.by_host(host)
        except SynchronousOnlyOperation:
            ref = await _look_up(host)
    except TenantNotFound:
        raise NotNative from None
    if ref.state != "active":
        raise NotNative
    return ref


async def _look_up(host: str) -> TenantRef:
    """Read a host's tenant in a thread; one for all who ask at the same time, of whom there may be hundreds."""
    task = _looking_up.get(host)
    if task is None or task.get_loop() is not asyncio.get_running_loop():
        task = _looking_up[host] = asyncio.create_task(asyncio.to_thread(directory.by_host, host))

        def forget(done: asyncio.Task[TenantRef]) -> None:
            _looking_up.pop(host, None)
            if not done.cancelled():
                done.exception()  # seen, though all who asked may have left

        task.add_done_callback(forget)
    return await asyncio.shield(task)


def one_header(scope: Scope, name: str) -> str | None:
    """A header's value, None when it was sent never or more than once."""
    wanted = name.lower().encode()
    found = [value for key, value in scope["headers"] if key == wanted]
    return found[0].decode("latin-1") if len(found) == 1 else None


@asynccontextmanager
async def _while_client_stays(receive: Receive) -> AsyncIterator[None]:
    """Cancel the block when the client closes its connection. Raises ClientGone then."""
    task = asyncio.current_task()
    assert task is not None
    assert isinstance(receive, Receiver)
    watcher = asyncio.create_task(receive.disconnected())
    inside = True

    def leave(done: asyncio.Task[None]) -> None:
        if inside and not done.cancelled():
            task.cancel()

    watcher.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if watcher.done() and not watcher.cancelled() and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        inside = False
        watcher.cancel()
