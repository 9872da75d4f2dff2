"""Every event that a request records says who asked, from where, and in which request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.ratelimit import client_ip
from accounts.recording import actor_of
from activity.context import SYSTEM, RecordingContext, recording


class RecordingMiddleware:
    """Sets activity's recording context for the request and takes it away after, since threads serve many requests.

    API requests name their caller when they are authenticated (accounts.auth), so only those with a session are looked up here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        actor = SYSTEM
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES and "Authorization" not in request.headers
        if has_session and request.user.is_authenticated:
            actor = actor_of(request.user)
        context = RecordingContext(
            actor=actor, request_id=cast(Any, request).id, ip=client_ip(request) or None, source="ui"
        )
        token = recording.set(context)
        try:
            return self.get_response(request)
        finally:
            recording.reset(token)
