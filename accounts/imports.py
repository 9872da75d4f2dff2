"""Members from a CSV file: the rules for its rows, and the statements that take a batch of them in at once.

A batch is one transaction with the job's checkpoint, so that a kill anywhere leaves each row done once or not at all. The rows that were
good so far are kept beside, in accounts_importedrow, until the end: of an address that comes twice the first one counts, however far
apart the two are, and Postgres compares addresses, as the members' own index does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from django.db import connection
from django.http import HttpRequest
from pydantic import BaseModel, ConfigDict

from accounts.errors import InvalidField
from accounts.models import ImportedRow
from accounts.roles import Role
from accounts.validation import clean_email, clean_name
from activity.jobs import csv_files, uploads
from activity.jobs.csv_files import Layout, Row
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.services import Input, job_start
from activity.spreadsheets import unguarded

KIND: Final = "members.import"
BATCH: Final = 2_000
# Columns that count, and what else people call them. Others are let be.
COLUMNS: Final = {
    "email": ("e-mail address", "mail"),
    "name": ("full name", "display name"),
    "role": (),
}
_ROLES: Final = {role.value for role in Role}

_STAGE: Final = "COPY accounts_importedrow (job_id, number, email, name, role) FROM STDIN"

# Rows about owners aren't taken: an import makes none, and changes none. They leave the rows that count before repeats are looked for.
_OWNERS: Final = """
DELETE FROM accounts_importedrow AS row USING (
    SELECT staged.number, member.role = 'owner' AS is_owner, coalesce(staged.name, member.name) <> member.name
        OR coalesce(staged.role, member.role) <> member.role AS is_change
    FROM accounts_importedrow AS staged
    LEFT JOIN LATERAL (
        SELECT name, role FROM accounts_user AS found WHERE lower(found.email) = lower(staged.email) LIMIT 1
    ) AS member ON true
    WHERE staged.job_id = %(job)s AND staged.number > %(after)s
) AS looked_up
WHERE row.job_id = %(job)s AND row.number = looked_up.number
    AND (looked_up.is_owner AND looked_up.is_change OR row.role = 'owner' AND looked_up.is_owner IS NOT TRUE)
RETURNING row.number, CASE WHEN looked_up.is_owner THEN 'email' ELSE 'role' END,
    CASE WHEN looked_up.is_owner THEN row.email ELSE row.role END,
    CASE WHEN looked_up.is_owner THEN 'This is an owner, whom an import doesn''t change. Use the member''s own page.'
        ELSE 'An import makes no owners. Use admin, member or viewer, or leave it empty.' END
"""
_REPEATS: Final = """
SELECT number, 'email', email, 'Row ' || first || ' has this address already; the first one counts.' FROM (
    SELECT row.number, row.email, (
        SELECT min(earlier.number) FROM accounts_importedrow AS earlier
        WHERE earlier.job_id = row.job_id AND lower(earlier.email) = lower(row.email) AND earlier.number < row.number
    ) AS first
    FROM accounts_importedrow AS row WHERE row.job_id = %(job)s AND row.number > %(after)s
) AS numbered WHERE first IS NOT NULL
"""

# LIMIT 1 has the planner look each address up in the index: joined freely it reads all members for each batch.
_TAKE: Final = """
WITH batch AS (
    SELECT row.number, row.email, row.name, row.role, member.id AS member_id
    FROM accounts_importedrow AS row
    LEFT JOIN LATERAL (
        SELECT id FROM accounts_user AS found WHERE lower(found.email) = lower(row.email) LIMIT 1
    ) AS member ON true
    WHERE row.job_id = %(job)s AND row.number > %(after)s AND NOT row.number = ANY(%(refused)s)
), created AS (
    INSERT INTO accounts_user
        (id, email, name, role, password, is_active, is_staff, is_superuser, created_at, session_epoch)
    SELECT uuidv7(), email, coalesce(name, ''), coalesce(role, 'member'), '!' || replace(gen_random_uuid()::text, '-', ''),
        true, false, false, now(), 0
    FROM batch WHERE member_id IS NULL ORDER BY number
    ON CONFLICT (lower(email)) DO NOTHING
    RETURNING 1
), updated AS (
    UPDATE accounts_user AS member
    SET name = coalesce(batch.name, member.name), role = coalesce(batch.role, member.role)
    FROM batch
    WHERE member.id = batch.member_id AND member.role <> 'owner'
        AND (coalesce(batch.name, member.name) <> member.name OR coalesce(batch.role, member.role) <> member.role)
    RETURNING 1
)
SELECT (SELECT count(*) FROM created), (SELECT count(*) FROM updated), (SELECT count(*) FROM batch)
"""


class ImportParams(BaseModel):
    """How the file is to be read, as it was found out when it was sent."""

    model_config = ConfigDict(extra="forbid")

    encoding: str
    separator: str
    columns: dict[str, int]
    width: int
    sha256: str
    size: int


def members_import_start(request: HttpRequest) -> Job:
    """Start the import of the file that a request brings. Raises UploadRefused when it isn't CSV with a column `email`."""
    upload = uploads.receive(request)
    layout = csv_files.layout_of(upload.file, upload.encoding, known=COLUMNS, required=["email"])
    upload.file.seek(0)
    params = ImportParams(
        encoding=layout.encoding,
        separator=layout.separator,
        columns=layout.columns,
        width=layout.width,
        sha256=upload.sha256,
        size=upload.size,
    )
    return job_start(kind=KIND, params=params.model_dump(), upload=Input(upload.file, upload.name))


def members_import(run: Run, params: ImportParams) -> None:
    """Take the file in, batch by batch, from where the last attempt ended.

    `run.saved` has the number of the last row that is done with. `run.counts`: created, updated, unchanged, refused.
    """
    layout = Layout(params.encoding, params.separator, params.columns, params.width)
    with run.input() as file:
        if run.total is None:
            total = _count(run, csv_files.rows(file, layout))
            with run.step():
                run.total = total
        done_with = int(run.saved.get("row", 1))
        ahead = (row for row in csv_files.rows(file, layout) if row.number > done_with)
        while batch := list(islice(ahead, BATCH)):
            with run.step():
                _take(run, batch, layout, after=done_with)
                done_with = batch[-1].number
                run.saved = {"row": done_with}
                run.done += len(batch)
        with run.step():
            ImportedRow.objects.filter(job_id=run.job.pk).delete()


def _count(run: Run, rows: Iterator[Row]) -> int:
    """How many rows there are; one that can't be read fails the job before anything is taken in."""
    count = 0
    for count, _ in enumerate(rows, start=1):
        if count % 10_000 == 0:
            run.check()
    return count


def _take(run: Run, batch: Sequence[Row], layout: Layout, *, after: int) -> None:
    refused: set[int] = set()
    with connection.cursor() as cursor:
        with cursor.copy(_STAGE) as copy:
            for row in batch:
                problems = list(_problems(row, layout))
                if problems:
                    refused.add(row.number)
                    for column, value, reason in problems:
                        run.problem(row.number, column, value, reason)
                else:
                    copy.write_row((run.job.pk, row.number, *_values(row, layout)))
        facts: dict[str, Any] = {"job": run.job.pk, "after": after}
        for statement in (_OWNERS, _REPEATS):
            cursor.execute(statement, facts)
            for number, column, value, reason in cursor.fetchall():
                refused.add(number)
                run.problem(number, column, value, reason)
        cursor.execute(_TAKE, {**facts, "refused": list(refused)})
        created, updated, taken = cursor.fetchone()
    run.counts.update(created=created, updated=updated, unchanged=taken - created - updated, refused=len(refused))


def _problems(row: Row, layout: Layout) -> Iterator[tuple[str, str, str]]:
    """Why a row can't be taken: column, what it holds, and the reason, for each column that is at fault."""
    extra = [cell for cell in row.cells[layout.width :] if cell.strip()]
    if extra:
        yield "", layout.separator.join(extra), "This row has more cells than the first line has columns."
    email, name, role = (_cell(row, layout, column) for column in COLUMNS)
    try:
        clean_email(email)
    except InvalidField as error:
        yield "email", email, error.message
    try:
        clean_name(name)
    except InvalidField as error:
        yield "name", name, error.message
    if role and role.lower() not in _ROLES:
        yield "role", role, "Use admin, member or viewer, or leave it empty."


def _values(row: Row, layout: Layout) -> tuple[str, str | None, str | None]:
    """The address, name and role of a good row; None for a cell that is empty, which leaves a member as they are."""
    email, name, role = (_cell(row, layout, column) for column in COLUMNS)
    return email, name or None, role.lower() or None


def _cell(row: Row, layout: Layout, column: str) -> str:
    place = layout.columns.get(column)
    return "" if place is None or place >= len(row.cells) else unguarded(row.cells[place].strip()).strip()
