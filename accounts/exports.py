"""Members as rows of CSV or NDJSON, made by Postgres itself: for the download that is streamed, and for the job that leaves a file.

A job also writes XLSX and Parquet, from the rows of NDJSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Final, Literal, get_args

import orjson
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, StreamingHttpResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from accounts import selectors
from accounts.models import User
from activity.jobs import parquet_files
from activity.jobs.downloads import CONTENT_TYPES
from activity.jobs.parquet_files import FieldType, ParquetFile
from activity.jobs.replica import reading_from_replica
from activity.jobs.run import Run
from activity.jobs.tables import TITLES
from activity.jobs.workbook import Workbook
from activity.spreadsheets import guarded
from tenants.db.copying import copy_blocks, copy_rows
from tenants.streaming import streamed

Format = Literal["csv", "ndjson"]
FileFormat = Literal["csv", "xlsx", "ndjson", "parquet"]
RoleName = Literal["owner", "admin", "member", "viewer", ""]

KIND: Final = "members.export"

_COLUMNS: Final = ("id", "email", "name", "role", "is_active", "created_at", "last_login")
# What a file names them.
COLUMNS: Final = (*_COLUMNS[:-1], "last_login_at")
_TYPES: Final[dict[str, FieldType]] = {"is_active": "truth", "created_at": "moment", "last_login_at": "moment"}
NO_PARQUET: Final = "Parquet isn't installed on this server (pyarrow). Use csv, ndjson or xlsx."
_MOMENT: Final = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

_CSV: Final = f"""
COPY (
    SELECT id, {guarded("email")} AS email, {guarded("name")} AS name, role,
        CASE WHEN is_active THEN 'true' ELSE 'false' END AS is_active,
        {_MOMENT.format("created_at")} AS created_at, {_MOMENT.format("last_login")} AS last_login_at
    FROM ({{}}) AS found
) TO STDOUT (FORMAT csv, HEADER true)
"""  # noqa: S608  constants alone
# CSV with a separator and a quote that JSON never has writes each value as it is; COPY's own text format would double backslashes.
_NDJSON: Final = f"""
COPY (
    SELECT row_to_json(member) FROM (
        SELECT id, email, name, role, is_active, {_MOMENT.format("created_at")} AS created_at,
            {_MOMENT.format("last_login")} AS last_login_at
        FROM ({{}}) AS found
    ) AS member
) TO STDOUT (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')
"""  # noqa: S608
_STATEMENTS: Final[dict[str, str]] = {"csv": _CSV, "ndjson": _NDJSON}


class ExportParams(BaseModel):
    """Which members, and how they are written."""

    model_config = ConfigDict(extra="forbid")

    format: FileFormat = "csv"
    q: str = Field("", max_length=200)
    role: RoleName = ""

    @field_validator("format")
    @classmethod
    def _is_installed(cls, value: FileFormat) -> FileFormat:
        if value not in file_formats():
            raise PydanticCustomError("not_installed", NO_PARQUET)
        return value


def file_formats() -> dict[FileFormat, str]:
    """The formats of files that a job can write here, and what people call them."""
    return {name: TITLES[name] for name in get_args(FileFormat) if name != "parquet" or parquet_files.is_installed()}


def statement(
    format: Format,  # noqa: A002
    connection: BaseDatabaseWrapper,
    *,
    q: str = "",
    role: str = "",
) -> tuple[str, list[Any]]:
    """The COPY of the members that selectors.members finds, oldest first, and its parameters; `connection` knows the dialect."""
    found = selectors.members(q=q, role=role).order_by("created_at", "id").values_list(*_COLUMNS)
    sql, params = found.query.get_compiler(connection=connection).as_sql()
    return _STATEMENTS[format].replace("{}", sql), list(params)


def member_rows(format: Format, *, q: str = "", role: str = "") -> Iterator[bytes]:  # noqa: A002
    """The rows, from a replica where that will do."""
    alias = router.db_for_read(User)
    sql, params = statement(format, connections[alias], q=q, role=role)
    return copy_rows(sql, params, alias=alias)


def member_blocks(format: Format, *, q: str = "", role: str = "") -> Iterator[tuple[bytes, int]]:  # noqa: A002
    """The rows in blocks for a file, each with its number of rows."""
    alias = router.db_for_read(User)
    sql, params = statement(format, connections[alias], q=q, role=role)
    return copy_blocks(sql, params, alias=alias)


def download(request: HttpRequest, format: Format, *, q: str = "", role: str = "") -> StreamingHttpResponse:  # noqa: A002
    """The members as a file, made while it is sent."""
    rows = member_rows(format, q=q, role=role)
    return streamed(request, rows, content_type=CONTENT_TYPES[f".{format}"], filename=f"members.{format}")


def members_export(run: Run, params: ExportParams) -> None:
    """Write the members to a file. An attempt that died begins anew: a file that was half written is of no use."""
    with reading_from_replica(run), run.writing_result(f"members.{params.format}") as file:
        run.done, run.total = 0, selectors.members(q=params.q, role=params.role).count()
        if params.format == "xlsx":
            _write_workbook(run, file, member_rows("ndjson", q=params.q, role=params.role))
        elif params.format == "parquet":
            _write_parquet(run, file, member_blocks("ndjson", q=params.q, role=params.role))
        else:
            run.done = -1 if params.format == "csv" else 0  # the header isn't a member
            for block, count in member_blocks(params.format, q=params.q, role=params.role):
                file.write(block)
                run.done += count
                run.report()
    with run.step():
        run.counts.clear()
        run.counts["rows"] = run.total = run.done


def _write_workbook(run: Run, file: IO[bytes], lines: Iterator[bytes]) -> None:
    with Workbook(file, title="Members", columns=COLUMNS) as workbook:
        for line in lines:
            workbook.write(list(orjson.loads(line).values()))
            run.done += 1
            if run.done % 1000 == 0:
                run.report()


def _write_parquet(run: Run, file: IO[bytes], blocks: Iterator[tuple[bytes, int]]) -> None:
    with ParquetFile(file, {name: _TYPES.get(name, "text") for name in COLUMNS}) as made:
        for block, count in blocks:
            made.write(block)
            run.done += count
            run.report()
