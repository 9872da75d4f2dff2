"""The live tail as the activity page uses it: its address, and the page's permission to connect there."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from activity.search import Query
from tenants.middleware import host_of
from tenants.origins import has_stream_of_its_own, stream_origin

FILTERS = ("action", "actor", "target", "source", "q")


def url(request: HttpRequest, query: Query, *, after: int) -> str:
    """Where the page hears of events that fit its filters, behind the number `after`."""
    asked = {name: value for name in FILTERS if (value := getattr(query, name))}
    return (
        f"{_origin(request)}{reverse('api:activity_stream')}?{urlencode({'format': 'html', 'after': after, **asked})}"
    )


def allow(request: HttpRequest, response: HttpResponse) -> None:
    """Let the page connect to `stream`, where that isn't at its own origin."""
    if has_stream_of_its_own():
        cast(Any, response)._csp_update = {"connect-src": [_origin(request)]}  # as csp.decorators.csp_update does


def _origin(request: HttpRequest) -> str:
    return stream_origin(host_of(request)) if has_stream_of_its_own() else ""
