"""Members in and out as files: `/members/import`, `/members.csv`, `/members.ndjson`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router, Status

from accounts import exports
from accounts.api.access import caller
from accounts.api.schemas import DownloadFilter, ImportOptions
from accounts.idempotency import takes_upload
from accounts.imports.starting import members_import_start
from activity.jobs.schemas import JobOut

router = Router(tags=["Members"])

_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {
                "schema": {"type": "string", "format": "binary"}
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


@router.post(
    "/members/import", response={202: JobOut}, summary="Import members from CSV, NDJSON or XLSX", openapi_extra=_UPLOAD
)
@takes_upload
def members_import(request: HttpRequest, options: Query[ImportOptions]) -> Status[dict[str, Any]]:
    """The body, or the field `file` of a form. `email` must be among the columns; `name` and `role` may be. The answer is a job."""
    caller(request).require("members.write")
    job = members_import_start(request, said=options.map, mode=options.mode, dry_run=options.dry_run)
    return Status(202, JobOut.of(job))


@router.get("/members.csv", response={200: None}, summary="All members as CSV, streamed")
def members_csv(request: HttpRequest, filters: Query[DownloadFilter]) -> StreamingHttpResponse:
    """Cells that a spreadsheet would run begin with an apostrophe, which an import takes off again."""
    caller(request).require("members.read")
    return exports.download(request, "csv", q=filters.q, role=filters.role or "")


@router.get("/members.ndjson", response={200: None}, summary="All members, one JSON object a line, streamed")
def members_ndjson(request: HttpRequest, filters: Query[DownloadFilter]) -> StreamingHttpResponse:
    caller(request).require("members.read")
    return exports.download(request, "ndjson", q=filters.q, role=filters.role or "")
