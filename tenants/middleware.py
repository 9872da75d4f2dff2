"""From the host of a request to its tenant, and what a request may read where.

Three outcomes: the control host, a tenant's host, or 404 before any tenant's database is touched.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.http.response import HttpResponseBase
from django.shortcuts import render

from tenants import context, directory, reads
from tenants.errors import TenantNotFound
from tenants.problem import problem_response, wants_problem
from tenants.refs import CONTROL, Ref

GetResponse = Callable[[HttpRequest], HttpResponseBase]
READ_AFTER_COOKIE = "read_after"
READ_AFTER_HEADER = "X-Read-After"


def host_of(request: HttpRequest) -> str:
    """The request's host in lower case, without port and trailing dot; empty when it isn't one.

    It is the Host header alone: what a client says in X-Forwarded-Host must not choose a tenant.
    """
    host, _ = split_domain_port(request.META.get("HTTP_HOST", ""))
    return host.removesuffix(".") if host.isascii() else ""


def is_control_host(host: str) -> bool:
    """Whether a host is the base domain, or a loopback address when the base domain is the local machine."""
    if host == settings.BASE_DOMAIN:
        return True
    if settings.BASE_DOMAIN != "localhost" or not host.startswith(("127.", "[")):
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class TenantMiddleware:
    """Enter the tenant, or control, that the host names for the time of the request and of its streamed body."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        host = host_of(request)
        if is_control_host(host):
            return self._serve(request, CONTROL)
        try:
            ref = directory.by_host(host)
        except TenantNotFound:
            return refuse(
                request, 404, "There is no organisation at this address", "Check the address for a typing mistake."
            )
        if ref.state == "suspended":
            return refuse(
                request,
                403,
                "This organisation is suspended",
                "Ask its owner, or whoever runs this service, to resume it.",
            )
        request.urlconf = settings.TENANT_URLCONF
        return self._serve(request, ref)

    def _serve(self, request: HttpRequest, ref: Ref) -> HttpResponseBase:
        request.tenant = ref  # type: ignore[attr-defined]
        with context.use(ref):
            response = self.get_response(request)
        if response.streaming and not getattr(response, "is_async", False):
            streamed: Any = response
            streamed.streaming_content = context.bound(ref, iter(streamed.streaming_content))
        return response


class ReadYourWritesMiddleware:
    """GET and HEAD read from a replica that has what the reader wrote; every other method reads from the primary.

    The position of a write goes out as X-Read-After and as a cookie, and comes back as either.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in ("GET", "HEAD"):
            after = request.headers.get(READ_AFTER_HEADER) or request.COOKIES.get(READ_AFTER_COOKIE)
            block = reads.reads_from_replica(after)
        else:
            block = reads.reads_from_primary()
        with block:
            response = self.get_response(request)
            token = reads.read_after()
        if token is not None:
            response.headers[READ_AFTER_HEADER] = token
            response.set_cookie(
                READ_AFTER_COOKIE, token, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
            )
        return response


def refuse(request: HttpRequest, status: int, title: str, detail: str) -> HttpResponseBase:
    """An answer with no tenant: a problem document for API paths, a plain page for people."""
    if wants_problem(request):
        return problem_response(request, status=status, title=title, detail=detail)
    return render(request, "tenants/refused.html", {"title": title, "detail": detail, "status": status}, status=status)
