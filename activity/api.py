"""`/activity`: the log of the organisation, and the way in for events of its own product."""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

import orjson
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router, Status
from ninja.errors import HttpError

from activity import exports, intake, selectors, services
from activity.schemas import (
    BATCH_BODY,
    ActivityFilter,
    BatchOut,
    EventIn,
    EventOut,
    EventPageOut,
    ExportFilter,
    FollowFilter,
    OnError,
)
from tenants.context import current
from tenants.middleware import host_of
from tenants.origins import stream_origin
from tenants.pages import Page
from tenants.problem import problem_response

router = Router(tags=["Activity"])

NDJSON: Final = {"application/x-ndjson", "application/ndjson"}


class Caller(Protocol):
    """Whoever was authenticated. Who that is and what they may do is decided above this app."""

    def require(self, verb: str) -> object:
        """Return when the verb is allowed, and raise when it isn't."""


def caller(request: HttpRequest) -> Caller:
    """Who calls; set by the API's authentication, which every operation has."""
    return cast(Caller, cast(Any, request).auth)


@router.get("/activity", response=EventPageOut, summary="Search the activity log")
def activity_list(request: HttpRequest, filters: Query[ActivityFilter]) -> Page[dict[str, Any]]:
    """By number, newest or oldest first. An event is there within two seconds of its commit."""
    caller(request).require("activity.read")
    return selectors.event_page(current(), filters.query(), limit=filters.limit, cursor=filters.cursor)


@router.post("/activity", response={201: EventOut, 200: EventOut}, summary="Record an event")
def activity_create(request: HttpRequest, body: EventIn) -> Status[dict[str, Any]]:
    """Answers once the event is durable; 200 with the event as it was when its id is known."""
    caller(request).require("activity.write")
    event, is_new = services.event_ingest(body.model_dump())
    return Status(201 if is_new else 200, event)


@router.post(
    "/activity/batch",
    response=BatchOut,
    exclude_unset=True,
    summary="Record up to 1,000 events",
    openapi_extra=BATCH_BODY,
)
def activity_batch(request: HttpRequest, on_error: OnError | None = None) -> dict[str, Any]:
    """As JSON, or as NDJSON with one event a line. Answers once all of them are durable.

    Each event that can't be recorded is named in `errors` by index and field. With `on_error=reject`, the default, nothing is kept then
    (422); with `keep` the others are.
    """
    caller(request).require("activity.write")
    if request.content_type in NDJSON:
        events, asked = intake.events_of_lines(request.body), None
    else:
        try:
            events, asked = intake.events_of_json(request.body)
        except orjson.JSONDecodeError as error:
            raise HttpError(400, f"The body isn't JSON: {error.msg}.") from None
    keep_good = (on_error or asked) == "keep"
    result = services.events_ingest(events, keep_good=keep_good)
    answer: dict[str, Any] = {"accepted": result.accepted, "duplicates": result.duplicates}
    return answer | ({"refused": result.refused, "errors": result.errors} if keep_good else {})


@router.get("/activity/stream", response={200: None}, summary="Follow the log (server-sent events)")
def activity_stream(request: HttpRequest, filters: Query[FollowFilter]) -> HttpResponse:
    """Each event's id is its number: a client that comes back with it as `Last-Event-ID` misses nothing and gets nothing twice.

    Served by the stream process, at `stream_url`; here it is misdirected.
    """
    caller(request).require("activity.read")
    return problem_response(
        request,
        status=421,
        detail="This process serves no streams; ask for it at stream_url.",
        stream_url=f"{stream_origin(host_of(request))}{request.path}",
    )


@router.get("/activity.csv", response={200: None}, summary="The log as CSV, streamed")
def activity_csv(request: HttpRequest, filters: Query[ExportFilter]) -> StreamingHttpResponse:
    """Cells that a spreadsheet would run begin with an apostrophe. `data` is JSON."""
    caller(request).require("activity.read")
    return exports.download(request, "csv", filters.query())


@router.get("/activity.ndjson", response={200: None}, summary="The log, one JSON object a line, streamed")
def activity_ndjson(request: HttpRequest, filters: Query[ExportFilter]) -> StreamingHttpResponse:
    caller(request).require("activity.read")
    return exports.download(request, "ndjson", filters.query())
