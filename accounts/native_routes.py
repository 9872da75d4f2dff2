"""The API's routes that `stream` answers natively: the list that is asked for most, and the downloads."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from accounts import exports, selectors
from accounts.api.schemas import DownloadFilter, MemberFilter, MemberOut
from activity.jobs.downloads import CONTENT_TYPES
from tenants.db import aio
from tenants.native import Copy, Json, NativeRequest, NotNative, Route, tenant_route
from tenants.pages import keyset_cut, keyset_query

# The columns of an answer's fields: what MemberOut names, read without making a User of each row.
_COLUMNS = {name: field.alias or name for name, field in MemberOut.model_fields.items()}


async def member_list(request: NativeRequest) -> Json:
    """`GET /members`, as accounts.api.members answers it. What isn't valid is explained by Django."""
    request.caller.require("members.read")
    try:
        filters = MemberFilter.model_validate(request.query())
    except ValidationError:
        raise NotNative from None
    found = selectors.members(q=filters.q, role=filters.role or "").values(*_COLUMNS.values())
    rows: list[dict[str, Any]] = await aio.fetch(keyset_query(found, limit=filters.limit, cursor=filters.cursor))
    page = keyset_cut(rows, filters.limit, lambda row: (row["created_at"], row["id"]))
    items = [{name: row[column] for name, column in _COLUMNS.items()} for row in page.items]
    return Json({"items": items, "next": page.next})


async def member_csv(request: NativeRequest) -> Copy:
    """`GET /members.csv`."""
    return _download(request, "csv")


async def member_ndjson(request: NativeRequest) -> Copy:
    """`GET /members.ndjson`."""
    return _download(request, "ndjson")


def _download(request: NativeRequest, form: exports.Format) -> Copy:
    request.caller.require("members.read")
    try:
        filters = DownloadFilter.model_validate(request.query())
    except ValidationError:
        raise NotNative from None
    sql, params = exports.statement(form, aio.dialect(), q=filters.q, role=filters.role or "")
    return Copy(sql, params, content_type=CONTENT_TYPES[f".{form}"], filename=f"members.{form}")


ROUTES = [
    Route("/api/v1/members", tenant_route(member_list), methods=frozenset({"GET"})),
    Route("/api/v1/members.csv", tenant_route(member_csv), methods=frozenset({"GET"})),
    Route("/api/v1/members.ndjson", tenant_route(member_ndjson), methods=frozenset({"GET"})),
]
