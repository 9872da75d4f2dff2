"""What people and programs do with jobs: start, cancel and retry."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import IO, Any, Final
from uuid import UUID

import structlog
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from activity.context import circumstances
from activity.jobs import events, files, followers, lease, lines, summaries
from activity.jobs.errors import JobFinished, JobNotFailed, JobNotFound, KindUnknown, UniqueTaken, UploadGone
from activity.jobs.kinds import Kind, find_kind, kind_of
from activity.jobs.models import Job
from activity.outbox import record
from tenants import context, hints, plan_limits
from tenants.ids import new_id

log = structlog.get_logger(__name__)

TURNS: Final = "jobs.turns"  # the task's name
# Seconds after which a call needn't arrive: what an outage has left doesn't stand before what is new.
CALL_EXPIRES: Final = 30.0
LOWEST, HIGHEST = -10, 10  # priority
KEPT_FOR: Final = timedelta(days=30)
PRUNED_AT_ONCE: Final = 500
MENDED_AT_ONCE: Final = 500
SETTLED_AT_ONCE: Final = 100  # followers of a job that somebody cancels, in their request


@dataclass(frozen=True, slots=True)
class Input:
    """The file that a job works on, and what people call it; `frees`: bytes of storage that go when the job is started."""

    file: IO[bytes]
    name: str
    frees: int = 0


def job_start(
    *,
    kind: str,
    params: Mapping[str, Any] | None = None,
    upload: Input | None = None,
    idempotency_key: str | None = None,
    priority: int = 0,
    unique: str | None = None,
    after: Job | None = None,
) -> Job:
    """Start a job in the active tenant, or in control: it is durable when the current transaction commits, and runs after that.

    Whoever the recording context names is its actor. With an `idempotency_key` that a job here has already, that job is returned.
    While a job of this kind with the key `unique` isn't finished, that one is returned. It runs when the job `after` has succeeded, and is
    cancelled when that one fails or is cancelled. Among the jobs of its tenant those of a higher `priority` (LOWEST to HIGHEST) come first.
    Raises KindUnknown, ParametersInvalid, PlanLimitReached, and django.db.DatabaseError.
    """
    if not LOWEST <= priority <= HIGHEST:
        raise ValueError(f"priority must be from {LOWEST} to {HIGHEST}, not {priority}.")
    found = kind_of(kind)
    if found.upload_at and upload is None:
        raise KindUnknown(f"{found.title} works on a file: send it to POST {found.upload_at}.")
    parsed = found.parse(params or {}).model_dump(mode="json")
    if (former := _with_key(kind, idempotency_key, unique)) is not None:
        return former
    _check_plan(found, upload)
    ref, around = context.current(), circumstances()
    job_id = new_id()
    summaries.announce(ref, job_id, kind, priority=priority)
    job = Job(
        id=job_id,
        kind=kind,
        params=parsed,
        actor=asdict(around.actor),
        request_id=around.request_id or "",
        ip=around.ip or "",
        idempotency_key=idempotency_key,
        unique_key=unique,
        after=after,
    )
    if upload is not None:
        job.input_name = upload.name[-200:]
        job.input_file = files.save_input(job_id, upload.file)
    try:
        other = _insert(job)
    except BaseException as error:
        # A COMMIT whose answer was lost may have been one: then the sweep asks whether the job is there, and removes the file if not.
        is_known = isinstance(error, Exception) and not isinstance(error, (OperationalError, InterfaceError))
        if connection.in_atomic_block or is_known:
            files.delete_all(job_id)
            with suppress(DatabaseError):
                summaries.remove(job_id)
        raise
    if other is not None:
        files.delete_all(job_id)
        summaries.remove(job_id)
        return other
    return Job.objects.get(pk=job_id)


def call_workers() -> None:
    """Tell a worker that jobs wait; off this thread, since a broker that is away mustn't end who has just taken a job."""
    hints.send_to_control(TURNS, expires=CALL_EXPIRES)


def _check_plan(kind: Kind | None, upload: Input | None = None) -> None:
    if kind is None or not kind.is_always_started:
        plan_limits.check_job_seconds()
    if upload is not None:
        plan_limits.check_storage(files.size_of(upload.file), frees=upload.frees)


def _insert(job: Job) -> Job | None:
    """Make the job's row and its event; or the job that has its key, when that was made in the same moment."""
    ref = context.current()
    while True:
        try:
            with transaction.atomic():
                job.save(force_insert=True)
                record(
                    events.JobStarted.of(job, params=job.params, file=job.input_name or None, schedule=job.schedule_id)
                )
                if job.after_id is None:
                    transaction.on_commit(lambda: summaries.enqueue(ref, job.pk))
                    call_workers()
                else:
                    # Robust: the job is made; what goes wrong here the sweep does again.
                    transaction.on_commit(lambda: followers.settle(job), robust=True)
                return None
        except IntegrityError as error:
            if (other := _with_key(job.kind, job.idempotency_key, job.unique_key)) is not None:
                return other
            if job.unique_key is None or not _is_of_unique_key(error):
                raise
            # That one has ended in the meantime: this one's turn.


def _with_key(kind: str, idempotency_key: str | None, unique: str | None) -> Job | None:
    """The job that is there in the place of one with these keys."""
    if idempotency_key is not None:
        former = Job.objects.filter(idempotency_key=idempotency_key).first()
        if former is not None:
            return former
    return None if unique is None else _unfinished(kind, unique)


def _unfinished(kind: str, unique: str) -> Job | None:
    return Job.objects.filter(kind=kind, unique_key=unique, state__in=Job.UNFINISHED).first()


def _is_of_unique_key(error: IntegrityError) -> bool:
    cause: Any = error.__cause__
    return bool(cause.diag.constraint_name == "job_unique_unfinished")


def job_cancel(*, job: Job) -> Job:
    """Cancel a job, in the name of whoever the recording context names. One that runs ends within two seconds; what it did stays.

    Raises JobNotFound, and JobFinished.
    """
    actor = asdict(circumstances().actor)
    with transaction.atomic():
        job = _held(job)
        if job.is_finished:
            raise JobFinished(job.state)
        if job.cancelled_by is None:
            job.cancelled_by = actor
            job.save(update_fields=["cancelled_by"])
        if job.state == Job.State.QUEUED:
            Job.objects.filter(pk=job.pk).update(state=Job.State.CANCELLED, finished_at=Now())
            job = Job.objects.get(pk=job.pk)
            lease.record_end(job)
            # Not before the caller's own transaction has committed, in which this one may be: else the job could be left without its file.
            transaction.on_commit(lambda: _cancelled(job), robust=True)
    return job


def _cancelled(job: Job) -> None:
    summaries.tell(job)
    files.delete(*files.leftovers(job))
    followers.settle_all(job, most=SETTLED_AT_ONCE)


def job_retry(*, job: Job) -> Job:
    """Have a failed job tried again, from its last checkpoint, in the name of whoever the recording context names.

    It runs with the rights of whoever started it. Raises JobNotFound, JobNotFailed, UploadGone, UniqueTaken, PlanLimitReached,
    and django.db.DatabaseError.
    """
    _check_plan(find_kind(job.kind))
    ref = context.current()
    with transaction.atomic():
        job = _held(job)
        if job.state != Job.State.FAILED:
            raise JobNotFailed(job.state)
        if job.input_name and not job.input_file:
            raise UploadGone(job.input_name)
        try:
            with transaction.atomic():
                Job.objects.filter(pk=job.pk).update(
                    state=Job.State.QUEUED, finished_at=None, error="", stalls=0, quarantined_at=None, cancelled_by=None
                )
        except IntegrityError:
            raise UniqueTaken() from None
        lines.write(job.pk, [lines.Line("It is to be tried again, from where it was.")])
        job = Job.objects.get(pk=job.pk)
        summaries.announce_again(ref, job.pk)
        record(events.JobRetried.of(job, file=job.input_name or None, done=job.done))
        # Not enqueue: in a long transaction somebody may have found the job as it was, and have said so.
        transaction.on_commit(lambda: summaries.tell(job))
        call_workers()
    return job


def _held(job: Job) -> Job:
    """The job as it is now, which nobody else changes until the transaction ends. Raises JobNotFound when it was thrown away."""
    held = Job.objects.select_for_update(no_key=True).filter(pk=job.pk).first()
    if held is None:
        raise JobNotFound()
    return held


def jobs_mend() -> int:
    """Have jobs found again that control has lost sight of; returns how many."""
    found, last = 0, UUID(int=0)
    while jobs := list(
        Job.objects.filter(state__in=Job.UNFINISHED, pk__gt=last).only("pk", "kind").order_by("pk")[:MENDED_AT_ONCE]
    ):
        found, last = found + summaries.mend(jobs), jobs[-1].pk
    return found


def jobs_prune() -> int:
    """Throw away a batch of the jobs that ended more than KEPT_FOR ago, with their files; returns how many."""
    waited_for = Job.objects.filter(after=OuterRef("pk"), state__in=Job.UNFINISHED)
    old = Job.objects.filter(~Exists(waited_for), finished_at__lt=Now() - KEPT_FOR).order_by("finished_at")
    with transaction.atomic():
        # Held, so that none is tried again in the moment in which it goes.
        held = old.select_for_update(of=("self",), no_key=True, skip_locked=True)
        ids = list(held.values_list("pk", flat=True)[:PRUNED_AT_ONCE])
        for job_id in ids:
            files.delete_all(job_id)
            summaries.remove(job_id)
        Job.objects.filter(pk__in=ids).delete()
    return len(ids)
