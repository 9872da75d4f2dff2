"""Who may write to a job: claimed by raising its attempt, held by a lease, and every write conditional on both.

A worker that was stopped and wakes up after its lease finds the attempt raised, and changes nothing. Each function is one statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest, Now

from activity.context import Actor, RecordingContext, recording_as
from activity.jobs import events, lines
from activity.jobs.errors import Cancelled, LeaseLost
from activity.jobs.models import Job
from activity.outbox import record

log = structlog.get_logger(__name__)

# Attempts in a row that made no progress, after which a job is given up.
MAX_STALLS: Final = 3

# SKIP LOCKED: whoever holds the row is at work on it, or was stopped in the midst of a checkpoint; the sweeper comes back.
# NO KEY: a row that refers to it, written by somebody who hasn't committed yet, is in nobody's way.
_CLAIM: Final = """
WITH found AS (
    SELECT id, state = 'running' AS was_left FROM jobs_job
    WHERE id = %(id)s AND (state = 'queued' OR state = 'running' AND lease_until < clock_timestamp()) AND (
        after_id IS NULL
        OR EXISTS (SELECT FROM jobs_job AS former WHERE former.id = jobs_job.after_id AND former.state = 'succeeded')
    )
    FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
), claimed AS (
    UPDATE jobs_job
    SET state = 'running', attempt = attempt + 1, stalls = stalls + 1, rate = NULL,
        lease_until = clock_timestamp() + %(lease)s * interval '1 second', started_at = coalesce(started_at, now())
    FROM found WHERE jobs_job.id = found.id
    RETURNING jobs_job.*, found.was_left
), noted AS (
    INSERT INTO jobs_jobline (job_id, at, level, sentence)
    SELECT id, clock_timestamp(), CASE WHEN was_left THEN 'warning' ELSE 'info' END,
        'Attempt ' || attempt || ' began' || CASE WHEN was_left THEN ': the worker of the one before was lost.' ELSE '.' END
    FROM claimed
)
SELECT * FROM claimed
"""
_RENEW: Final = """
UPDATE jobs_job SET lease_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
RETURNING cancelled_by IS NOT NULL
"""
_LOOK: Final = """
SELECT cancelled_by IS NOT NULL FROM jobs_job WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
"""
_CHECKPOINT: Final = """
UPDATE jobs_job
SET done = %(done)s, total = %(total)s, counts = %(counts)s, checkpoint = %(checkpoint)s, rate = %(rate)s,
    stalls = CASE WHEN %(is_kept)s OR checkpoint IS DISTINCT FROM %(checkpoint)s THEN 0 ELSE stalls END,
    lease_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
"""


def claim(job_id: UUID) -> Job | None:
    """The job, which is this caller's from now on, for settings.JOB_LEASE seconds; None when it can't be had.

    Then somebody else has it, it has ended, or the job that it comes after hasn't succeeded (yet).
    """
    return next(iter(Job.objects.raw(_CLAIM, {"id": job_id, "lease": settings.JOB_LEASE})), None)


def has_passed(job_id: UUID) -> bool:
    """Whether the job was left by who had it."""
    return Job.objects.filter(pk=job_id, state=Job.State.RUNNING, lease_until__lt=Now()).exists()


def renew(job: Job) -> bool:
    """Hold the job for another settings.JOB_LEASE seconds; whether somebody has cancelled it. Raises LeaseLost."""
    return _is_cancelled(job, _RENEW)


def look(job: Job) -> bool:
    """Whether somebody has cancelled the job. Raises LeaseLost."""
    return _is_cancelled(job, _LOOK)


def _is_cancelled(job: Job, statement: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"id": job.pk, "attempt": job.attempt, "lease": settings.JOB_LEASE})
        row = cursor.fetchone()
    if row is None:
        raise LeaseLost(job=str(job.pk), attempt=job.attempt)
    return bool(row[0])


def checkpoint(
    job: Job,
    *,
    done: int,
    total: int | None,
    counts: Mapping[str, int],
    saved: Mapping[str, Any],
    rate: float | None = None,
    is_kept: bool = True,
) -> None:
    """Note how far the job is; inside a transaction, with what was done, so that both commit or neither does. Raises LeaseLost.

    `is_kept`: the next attempt needn't do again what was done. What it would begin anew isn't progress, however far it is.
    """
    facts: dict[str, Any] = {
        "id": job.pk,
        "attempt": job.attempt,
        "lease": settings.JOB_LEASE,
        "done": done,
        "total": total,
        "rate": rate,
        "is_kept": is_kept,
        "counts": connection.ops.adapt_json_value(dict(counts), None),
        "checkpoint": connection.ops.adapt_json_value(dict(saved), None),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CHECKPOINT, facts)
        if cursor.rowcount != 1:
            raise LeaseLost(job=str(job.pk), attempt=job.attempt)


def note(job: Job, line: lines.Line) -> None:
    """Put a line into the job's log. Raises LeaseLost."""
    with transaction.atomic():
        if not _own(job).exists():
            raise LeaseLost(job=str(job.pk), attempt=job.attempt)
        lines.write(job.pk, [line])


def release(job: Job, *, blameless: bool, line: lines.Line) -> bool:
    """Give the job back unfinished, for whoever claims it next; whether it was still this attempt's. `line` tells its log why.

    `blameless`: the attempt doesn't count among those without progress.
    """
    changes: dict[str, Any] = {"state": Job.State.QUEUED, "lease_until": None, "rate": None}
    if blameless:
        changes["stalls"] = Greatest(F("stalls") - 1, 0)
    with transaction.atomic():
        given = _own(job).update(**changes)
        if given:
            lines.write(job.pk, [line])
    return bool(given)


def finish(
    job: Job, state: Job.State, *, error: str = "", result: tuple[str, str] = ("", ""), quarantined: bool = False
) -> Job:
    """End the job, with its one event, in one transaction. `result`: the file's name in storage, and what people call it.

    `quarantined`: it is set aside, since its attempts made no progress.

    Raises LeaseLost, and Cancelled when a success comes too late: then the job is still this attempt's, to be ended as cancelled.
    """
    with transaction.atomic():
        own = _own(job)
        if state == Job.State.SUCCEEDED:
            own = own.filter(cancelled_by__isnull=True)
        file, name = result
        ended = own.update(
            state=state,
            finished_at=Now(),
            lease_until=None,
            rate=None,
            error=error,
            result_file=file,
            result_name=name,
            quarantined_at=Now() if quarantined else None,
        )
        if not ended:
            if _own(job).exists():
                raise Cancelled(job=str(job.pk))
            raise LeaseLost(job=str(job.pk), attempt=job.attempt)
        job = Job.objects.get(pk=job.pk)
        record_end(job)
    return job


def record_end(job: Job) -> None:
    """Record the event of a job that has just ended, and the last line of its log, inside the transaction that ended it.

    The event's actor is who cancelled it, or started it.
    """
    facts: dict[str, Any] = {"done": job.done, "counts": job.counts, "file": job.result_name or job.input_name or None}
    if job.state == Job.State.FAILED:
        facts |= {"error": job.error, "quarantined": job.is_quarantined}
    elif job.state == Job.State.CANCELLED:
        facts["reason"] = job.error or None
    actor = Actor(**(job.cancelled_by if job.state == Job.State.CANCELLED and job.cancelled_by else job.actor))
    around = RecordingContext(actor=actor, request_id=job.request_id or None, source="job")
    with recording_as(around):
        record(events.ENDED[job.state].of(job, **facts))
    lines.write(job.pk, [lines.of_end(job)])


def _own(job: Job) -> Any:
    return Job.objects.filter(pk=job.pk, attempt=job.attempt, state=Job.State.RUNNING)
