"""What a job leaves to be downloaded: the file that it made, and its report."""

from __future__ import annotations

from typing import Any, Final

from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase

from activity.jobs import files
from activity.jobs.errors import JobNotFound
from activity.jobs.kinds import kind_of
from activity.jobs.models import Job
from activity.jobs.spreadsheets import guarded
from tenants.db.copying import copy_rows
from tenants.streaming import streamed

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
    response = FileResponse(file, as_attachment=True, filename=job.result_name)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def report_response(request: HttpRequest, job: Job) -> HttpResponseBase:
    """What the job didn't take, by row and column, streamed as CSV. Raises JobNotFound for a kind that has no report."""
    if not kind_of(job.kind).has_report:
        raise JobNotFound("report")
    rows = copy_rows(_REPORT, [job.pk])
    return streamed(request, rows, content_type="text/csv; charset=utf-8", filename="report.csv")
