"""What a job leaves to be downloaded: the file that it made, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase

from activity.jobs import files
from activity.jobs.errors import JobNotFound
from activity.jobs.kinds import find_kind
from activity.jobs.models import Job
from activity.spreadsheets import guarded
from tenants.db.copying import copy_rows
from tenants.streaming import streamed

CONTENT_TYPES: Final = {
    ".csv": "text/csv; charset=utf-8",
    ".ndjson": "application/x-ndjson",
    ".json": "application/json",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".parquet": "application/vnd.apache.parquet",
    ".zip": "application/zip",
}

_REPORT: Final = f"""
COPY (
    SELECT row, "column", {guarded("value")} AS value, reason FROM jobs_jobproblem WHERE job_id = %s ORDER BY row, id
) TO STDOUT (FORMAT csv, HEADER true)
"""  # noqa: S608  constants alone


def result_response(job: Job) -> HttpResponseBase:
    """The file that the job made. Raises JobNotFound when it made none, or it was thrown away since."""
    if not job.result_file:
        raise JobNotFound("file")
    try:
        file: Any = files.open_result(job)
    except FileNotFoundError:
        raise JobNotFound("file") from None
    content_type = CONTENT_TYPES.get(Path(job.result_name).suffix, "application/octet-stream")
    response = FileResponse(file, as_attachment=True, filename=job.result_name, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def report_response(request: HttpRequest, job: Job) -> HttpResponseBase:
    """What the job didn't take, by row and column, streamed as CSV. Raises JobNotFound for a kind that has no report."""
    kind = find_kind(job.kind)
    if kind is None or not kind.has_report:
        raise JobNotFound("report")
    rows = copy_rows(_REPORT, [job.pk])
    return streamed(request, rows, content_type="text/csv; charset=utf-8", filename="report.csv")
