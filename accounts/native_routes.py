"""The API's routes that `stream` answers natively: the list that is asked for most, and the downloads."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from accounts import selectors
from accounts.api.schemas import MemberFilter, MemberOut
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
    request.caller.require("members.read")
    return Copy(members_copy("csv"), content_type="text/csv; charset=utf-8", filename="members.csv")


async def member_ndjson(request: NativeRequest) -> Copy:
    """`GET /members.ndjson`."""
    request.caller.require("members.read")
    return Copy(members_copy("ndjson"), content_type="application/x-ndjson; charset=utf-8", filename="members.ndjson")


def members_copy(form: str) -> str:
    """The COPY of all members, oldest first, as `csv` or `ndjson`. The one place where the downloads get their SQL."""
    # Names of columns and nothing from outside go into it.
    source = "accounts_user ORDER BY created_at, id"
    moments = ", ".join(f"{_moment(column)} AS {name}" for name, column in _COLUMNS.items() if name.endswith("_at"))
    if form == "csv":
        texts = ", ".join(f"{_harmless(name)} AS {name}" for name in ("email", "name"))
        rows = f"SELECT id, {texts}, role, is_active, {moments} FROM {source}"  # noqa: S608
        return f"COPY ({rows}) TO STDOUT (FORMAT csv, HEADER)"
    # Through CSV with quotes and separators that JSON can't hold: the format `text` would double its backslashes.
    row = f"SELECT m FROM (SELECT id, email, name, role, is_active, {moments}) AS m"  # noqa: S608
    rows = f"SELECT row_to_json(({row})) FROM {source}"  # noqa: S608
    return f"COPY ({rows}) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"


def _moment(column: str) -> str:
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _harmless(column: str) -> str:
    """A text that a spreadsheet would run begins with a quote mark, which the import takes off again."""
    return f"CASE WHEN {column} ~ '^[-=+@\\t\\r\\n'']' THEN '''' || {column} ELSE {column} END"


ROUTES = [
    Route("/api/v1/members", tenant_route(member_list), methods=frozenset({"GET"})),
    Route("/api/v1/members.csv", tenant_route(member_csv), methods=frozenset({"GET"})),
    Route("/api/v1/members.ndjson", tenant_route(member_ndjson), methods=frozenset({"GET"})),
]
