"""The short way of API requests with a token; and who asked, for the events that a request records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from csp.utils import build_policy
from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver, set_urlconf

from accounts.ratelimit import client_ip
from accounts.recording import actor_of
from activity.context import SYSTEM, RecordingContext, recording
from tenants import usage
from tenants.middleware import ReadYourWritesMiddleware, TenantMiddleware
from tenants.problem import wants_problem

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class TokenRequestMiddleware:
    """API requests with an Authorization header pass by what pages need: sessions, CSRF, messages, second factors.

    With that header nothing else says who asks (accounts.auth), so no session is looked at. The tenant, the choice of
    replica or primary and the recording context are those of every request; so are the headers of the answer.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        view = cast(GetResponse, convert_exception_to_response(_view_of))
        self.short_way = TenantMiddleware(ReadYourWritesMiddleware(RecordingMiddleware(view)))
        self.headers = {
            "Content-Security-Policy": build_policy(),
            "X-Frame-Options": settings.X_FRAME_OPTIONS,
            "Vary": "Authorization",
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "HTTP_AUTHORIZATION" not in request.META or not wants_problem(request):
            return self.get_response(request)
        response = self.short_way(request)
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        if isinstance(response, HttpResponse) and "Content-Length" not in response.headers:
            response.headers["Content-Length"] = str(len(response.content))
        return response


def _view_of(request: HttpRequest) -> HttpResponseBase:
    urlconf = getattr(request, "urlconf", settings.ROOT_URLCONF)
    set_urlconf(urlconf)
    match = request.resolver_match = get_resolver(urlconf).resolve(request.path_info)
    answer: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
    return answer


class RecordingMiddleware:
    """Sets activity's recording context for the request and takes it away after, since threads serve many requests.

    API requests name their caller when they are authenticated (accounts.auth), so only those with a session are looked up here.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        actor = SYSTEM
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES and "Authorization" not in request.headers
        if has_session and request.user.is_authenticated:
            actor = actor_of(request.user)
            if not wants_problem(request):  # those of the API are counted where their caller is found out
                usage.take_request(may_refuse=False)
        context = RecordingContext(
            actor=actor, request_id=cast(Any, request).id, ip=client_ip(request) or None, source="ui"
        )
        token = recording.set(context)
        try:
            return self.get_response(request)
        finally:
            recording.reset(token)
