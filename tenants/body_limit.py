"""A body that is too large is refused by its announced length, before anything of it is read."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tenants.middleware import refuse


class BodyLimitMiddleware:
    """413 for bodies of more than settings.UPLOAD_MAX_BYTES. What isn't an upload has Django's smaller limit besides."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        length = request.META.get("CONTENT_LENGTH", "")
        if length.isascii() and length.isdigit() and int(length) > settings.UPLOAD_MAX_BYTES:
            megabytes = settings.UPLOAD_MAX_BYTES // (1024 * 1024)
            return refuse(request, 413, "That is too large", f"At most {megabytes} MB are taken. Split the file.")
        return self.get_response(request)
