"""The two addresses of a host: `web`'s, where its pages are, and `stream`'s. They may differ by scheme and port, never by name."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings


def page_origin(host: str) -> str:
    """Where the pages of a host (a name without a port) are, as browsers write it in `Origin`."""
    return _origin(settings.WEB_URL, host)


def stream_origin(host: str) -> str:
    """Where `stream` serves a host."""
    return _origin(settings.STREAM_URL, host)


def has_stream_of_its_own() -> bool:
    """Whether pages must name `stream` by its origin. Behind one proxy it has the pages' own."""
    return page_origin("host") != stream_origin("host")


def _origin(url: str, host: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
