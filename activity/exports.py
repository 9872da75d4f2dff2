"""The log as a file: CSV or NDJSON, made while it is sent or written, a portion of events in memory at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
from django.http import HttpRequest, StreamingHttpResponse

from activity import log_async, selectors
from activity.log import Walk, take
from activity.personal import widened
from activity.search import Query
from activity.spreadsheets import guarded_cell
from tenants.context import current
from tenants.refs import Ref, TenantRef
from tenants.streaming import streamed

Format = Literal["csv", "ndjson"]

CONTENT_TYPES: Final[dict[Format, str]] = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
PORTION: Final = 500  # events
COLUMNS: Final = (
    *("id", "seq", "at", "action", "actor_type", "actor_id", "actor_name", "target_type", "target_id", "target_name"),
    *("source", "request_id", "ip", "data"),
)


def header(form: Format) -> bytes:
    """What a file begins with."""
    return f"{','.join(COLUMNS)}\n".encode() if form == "csv" else b""


def lines(form: Format, events: Sequence[dict[str, Any]]) -> bytes:
    """Events, as the API shows them, as lines of a file."""
    if form == "ndjson":
        return b"".join(orjson.dumps(event, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE) for event in events)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(map(_cells, events))
    return file.getvalue().encode()


def download(request: HttpRequest, form: Format, query: Query) -> StreamingHttpResponse:
    """The events of the active tenant's log that fit, as a file. Raises LogUnavailable, as long as it hasn't begun."""
    ref = current()
    blocks = _blocks(form, _walk(ref, selectors.log_bounds(ref), widened(ref, query)))
    return streamed(request, blocks, content_type=CONTENT_TYPES[form], filename=f"activity.{form}")


def _blocks(form: Format, walk: Walk) -> Iterator[bytes]:
    yield header(form)
    while not walk.at_end:
        yield lines(form, selectors.shown(walk.ref, take(walk, PORTION)))


async def blocks_async(ref: TenantRef, form: Format, query: Query) -> AsyncGenerator[bytes, None]:
    """The same in an event loop, in blocks that aren't empty."""
    walk = _walk(ref, await log_async.bounds_of(ref), await log_async.widened(ref, query))
    block = header(form)
    while not walk.at_end:
        block += lines(form, await log_async.items(ref, await log_async.take(walk, PORTION)))
        if block:
            yield block
            block = b""
    if block:
        yield block


def _walk(ref: Ref, bounds: tuple[int, int], query: Query) -> Walk:
    first, head = bounds
    return Walk(ref, first=first, head=head, query=query, cursor=None)


def _cells(event: dict[str, Any]) -> list[Any]:
    parties = [(event[role] or {}).get(part) or "" for role in ("actor", "target") for part in ("type", "id", "name")]
    data = orjson.dumps(event["data"]).decode() if event["data"] else ""
    texts = [event["action"], *parties, event["source"], event["request_id"] or "", event["ip"] or "", data]
    return [event["id"], event["seq"], _moment(event["at"]), *map(guarded_cell, texts)]


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
