"""The routes of the log that `stream` answers natively: the live tail, which is its alone, and the downloads."""

from __future__ import annotations

from typing import TypeVar

from ninja import Schema
from pydantic import ValidationError

from activity import exports
from activity.schemas import ExportFilter, FollowFilter
from activity.tail import Follow
from tenants.native import Download, NativeRequest, NotNative, Route, origin_headers, tenant_route

F = TypeVar("F", bound=Schema)


async def activity_stream(request: NativeRequest) -> Follow:
    """`GET /activity/stream`."""
    request.caller.require("activity.read")
    return Follow(request, _filters(request, FollowFilter), origin_headers(request.scope))


async def activity_csv(request: NativeRequest) -> Download:
    """`GET /activity.csv`."""
    return _download(request, "csv")


async def activity_ndjson(request: NativeRequest) -> Download:
    """`GET /activity.ndjson`."""
    return _download(request, "ndjson")


def _download(request: NativeRequest, form: exports.Format) -> Download:
    request.caller.require("activity.read")
    query = _filters(request, ExportFilter).query()
    blocks = exports.blocks_async(request.ref, form, query)
    return Download(blocks, content_type=exports.CONTENT_TYPES[form], filename=f"activity.{form}")


def _filters(request: NativeRequest, kind: type[F]) -> F:
    """What was asked for. What isn't valid is explained by Django."""
    try:
        return kind.model_validate(request.query())
    except ValidationError:
        raise NotNative from None


_GET = frozenset({"GET"})
ROUTES = [
    Route("/api/v1/activity/stream", tenant_route(activity_stream, takes_sessions=True), methods=_GET),
    Route("/api/v1/activity.csv", tenant_route(activity_csv, takes_sessions=True), methods=_GET),
    Route("/api/v1/activity.ndjson", tenant_route(activity_ndjson, takes_sessions=True), methods=_GET),
]
