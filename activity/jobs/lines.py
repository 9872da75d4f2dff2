"""A job's log: what its kind noted and what became of it, kept with the job, the newest MOST lines of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from django.db import connection

from activity.jobs.models import Job, JobLine

MOST: Final = 1000
LONGEST: Final = 500  # characters

_TRIM: Final = """
DELETE FROM jobs_jobline WHERE job_id = %(job)s AND id <= (
    SELECT id FROM jobs_jobline WHERE job_id = %(job)s ORDER BY id DESC OFFSET %(most)s LIMIT 1
)
"""


class Line(NamedTuple):
    """A sentence, and how much it matters."""

    sentence: str
    level: JobLine.Level = JobLine.Level.INFO


def write(job_id: Any, written: Iterable[Line]) -> None:
    """Put lines behind those that there are; the oldest go when there are too many. What Postgres can't hold is shown as `?` or a space."""
    rows = [JobLine(job_id=job_id, level=line.level, sentence=_plain(line.sentence)) for line in written]
    if rows:
        JobLine.objects.bulk_create(rows[-MOST:])
        with connection.cursor() as cursor:
            cursor.execute(_TRIM, {"job": job_id, "most": MOST})


def of_end(job: Job) -> Line:
    """What the log says of a job that has ended."""
    if job.state == Job.State.SUCCEEDED:
        return Line("It succeeded.")
    if job.state == Job.State.CANCELLED:
        return Line(f"It was cancelled. {job.error}".rstrip(), JobLine.Level.WARNING)
    return Line(job.error, JobLine.Level.ERROR)


def _plain(sentence: str) -> str:
    return sentence.replace("\0", " ").encode("utf-8", "replace").decode()[:LONGEST]
