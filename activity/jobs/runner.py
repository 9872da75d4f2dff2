"""What a worker does: the jobs whose turn it is, one after the other, and one attempt at a job from the claim to the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from uuid import UUID

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections
from django.utils.module_loading import import_string

from activity.context import Actor, RecordingContext, recording_as
from activity.jobs import files, followers, lease, shutdown, slots, summaries, turns
from activity.jobs.errors import Cancelled, HandedBack, JobError, JobFailed, LeaseLost, Stopped, TimeLimitReached
from activity.jobs.heartbeat import Heartbeat
from activity.jobs.kinds import find_kind, kind_of
from activity.jobs.lines import Line
from activity.jobs.models import Job, JobLine
from activity.jobs.run import Run
from tenants import context, directory, metrics
from tenants.db.handler import release_unless_active
from tenants.errors import PlanLimitReached, TenantNotFound
from tenants.refs import CONTROL, Ref

log = structlog.get_logger(__name__)

# A COPY's errors come as psycopg raises them, all others as Django's.
_AWAY = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)

NO_LONGER_ALLOWED = "Whoever started it may no longer do this, so it was not done."
UNEXPECTED = "Something went wrong that was not foreseen. Operators find it in the log by the job's id."
STALLED = (
    f"It was started {lease.MAX_STALLS} times in a row without any progress, because its worker died or lost the database each time, or a "
    "statement took too long; it was set aside. Retry it once the reason is mended: it goes on from where it was."
)
TOO_LONG = "It was stopped after {seconds:g} s, which is as long as it may run at once. What it did stays: a retry goes on from there."
GIVEN_BACK = "Handed back ({reason}): another worker goes on."
INTERRUPTED = "Interrupted: the database was lost. It is tried again."
OUT_OF_TIME = "Interrupted: a statement took longer than it may. It is tried again."


def run_turns(seconds: float, *, call_others: Callable[[], object] = lambda: None) -> int | None:
    """Run the jobs whose turn it is until nobody waits, or `seconds` have passed; how many, None when this worker has no room.

    `call_others` is called once somebody else has jobs waiting while the first one runs here.
    """
    count, until = 0, time.monotonic() + seconds
    with slots.slot() as has_slot:
        if not has_slot:
            return None  # those that run look for the next turn when they have ended
        while not shutdown.is_asked_for() and (taken := turns.take()) is not None:
            if not count and turns.is_anybody_waiting():
                call_others()
            slots.stamp()  # a short job ends before its heartbeat would
            _run_taken(taken)
            count += 1
            if time.monotonic() >= until:
                break
    return count


def _run_taken(taken: turns.Taken) -> None:
    try:
        ref: Ref = CONTROL if taken.owner == CONTROL.id else directory.by_id(taken.owner)
    except TenantNotFound:
        log.warning("job_of_nobody", job=str(taken.job_id), tenant=taken.owner)
        return
    try:
        with context.use(ref), structlog.contextvars.bound_contextvars(tenant=ref.slug):
            release_unless_active(CONTROL.alias)  # a job may take hours
            _had(taken.job_id, is_told=True)
    except (DatabaseError, *_AWAY) as error:  # of the claim: the tenant can't be reached, and the turns of others go on
        log.warning("job_left", job=str(taken.job_id), tenant=taken.owner, error=type(error).__name__)
        summaries.put_off(ref, taken.job_id)
        turns.rest(taken.owner)


def run_job(job_id: UUID) -> Job.State | None:
    """Run the job of the active tenant (or control) if it can be had. Returns the state that it was left in, None when it wasn't had.

    One that was left by its worker waits for its turn when this worker has no room.
    """
    with slots.slot() as has_slot:
        if has_slot:
            return _had(job_id)
    # Who runs others' jobs keeps its slot from turn to turn: a job that was left would find one by luck alone.
    if lease.has_passed(job_id):
        summaries.put_back(context.current(), job_id)
        return None
    return _tell_end(job_id)  # it may have been left before it was claimed, or after it had ended


def _had(job_id: UUID, *, is_told: bool = False) -> Job.State | None:
    """What run_job says; `is_told`: its summary says already that it runs."""
    job = lease.claim(job_id)
    if job is None:
        return _tell_end(job_id)
    if not is_told:
        summaries.tell(job)
    log.info("job_claimed", job=str(job.pk), kind=job.kind, attempt=job.attempt)
    started = time.monotonic()
    with structlog.contextvars.bound_contextvars(job=str(job.pk), kind=job.kind, attempt=job.attempt):
        state = _attempt(job)
    metrics.JOB_RUN_TIME.labels(job.kind, state or "left").observe(time.monotonic() - started)
    return state


def _attempt(job: Job) -> Job.State | None:
    """From the claim on. What goes wrong with the database here leaves the job claimed, and its lease runs out."""
    try:
        if job.cancelled_by is not None:
            return _end(job, Job.State.CANCELLED)
        if job.stalls > lease.MAX_STALLS:
            log.warning("job_quarantined", attempts=lease.MAX_STALLS)
            return _end(job, Job.State.FAILED, error=STALLED, quarantined=True)
        return _work(job)
    except LeaseLost:
        log.warning("job_lease_lost")
        return None


def _work(job: Job) -> Job.State | None:
    run = Run(job)
    around = RecordingContext(actor=Actor(**job.actor), request_id=job.request_id or None, source="job")
    try:
        with ExitStack() as stack:
            stack.enter_context(recording_as(around))
            stack.enter_context(Heartbeat(run, context.current(), time_limit=_time_limit(job)))
            kind = kind_of(job.kind)
            if not import_string(settings.JOBS_STARTER_CHECK)(around.actor, kind.verb):
                raise JobFailed(NO_LONGER_ALLOWED)
            kind.run(run, kind.parse(job.params))
            run.check()
        return _end(job, Job.State.SUCCEEDED, result=run.result)
    except Stopped as reason:
        return _stopped(job, run, reason)
    except JobError as error:  # the kind's own word, or parameters that this release no longer takes
        return _end_unless_stopped(job, run, error.message)
    except PlanLimitReached as error:
        state = _end_unless_stopped(job, run, error.message)
        if state == Job.State.FAILED:
            files.forget_made(job)  # which may be what there is no room for
        return state
    except _AWAY as error:
        return _later(job, run, error)
    except Exception:
        log.exception("job_raised")
        return _end_unless_stopped(job, run, UNEXPECTED)


def _stopped(job: Job, run: Run, reason: Stopped) -> Job.State | None:
    if isinstance(reason, LeaseLost):
        raise reason
    if isinstance(reason, Cancelled):
        return _end(job, Job.State.CANCELLED)
    if isinstance(reason, TimeLimitReached):
        return _end(job, Job.State.FAILED, error=TOO_LONG.format(**reason.facts))
    assert isinstance(reason, HandedBack)
    if not lease.release(job, blameless=True, line=Line(GIVEN_BACK.format(**reason.facts))):
        raise LeaseLost(job=str(job.pk), attempt=job.attempt)
    files.delete(run.result[0])
    log.info("job_handed_back", **reason.facts)
    if reason.again_in:
        summaries.put_off(context.current(), job.pk, by=timedelta(seconds=reason.again_in))
    else:
        _tell_end(job.pk)
    return Job.State.QUEUED


def _end_unless_stopped(job: Job, run: Run, sentence: str) -> Job.State | None:
    try:
        run.check()
    except Stopped as reason:  # what was raised comes of being interrupted
        return _stopped(job, run, reason)
    return _end(job, Job.State.FAILED, error=sentence)


def _later(job: Job, run: Run, error: Exception) -> Job.State | None:
    """The database, or the way to it, failed: another attempt goes on, as long as there is progress."""
    try:
        run.check()
    except Stopped as reason:
        return _stopped(job, run, reason)
    log.warning("job_interrupted", error=type(error).__name__, exc_info=error)
    close_old_connections()
    try:
        sentence = OUT_OF_TIME if _is_out_of_time(error) else INTERRUPTED
        released = lease.release(job, blameless=False, line=Line(sentence, JobLine.Level.WARNING))
    except _AWAY:
        log.warning("job_left", error=type(error).__name__)  # its lease runs out
        return None
    if not released:
        raise LeaseLost(job=str(job.pk), attempt=job.attempt)
    _tell_end(job.pk)
    return Job.State.QUEUED


def _is_out_of_time(error: Exception) -> bool:
    """Whether Postgres has cancelled the statement: nobody else does who isn't heard of by the run's check."""
    return isinstance(error, psycopg.errors.QueryCanceled) or isinstance(error.__cause__, psycopg.errors.QueryCanceled)


def _end(
    job: Job, state: Job.State, *, error: str = "", result: tuple[str, str] = ("", ""), quarantined: bool = False
) -> Job.State:
    try:
        ended = lease.finish(job, state, error=error, result=result, quarantined=quarantined)
    except Cancelled:  # in the moment in which it succeeded
        ended = lease.finish(job, Job.State.CANCELLED)
    except LeaseLost:
        files.delete(result[0])
        raise
    summaries.tell(ended, of_running=True)
    files.delete(*files.leftovers(ended))
    log.info("job_ended", state=ended.state, done=ended.done, counts=ended.counts)
    followers.settle_all(ended)
    return Job.State(ended.state)


def _tell_end(job_id: UUID) -> Job.State | None:
    """Bring the summary up to date with a job that this worker doesn't have; what was announced and never came to be goes."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        if summaries.remove_if_old(job_id):
            files.delete_all(job_id)
        else:
            summaries.put_off(context.current(), job_id)
        return None
    if job.state == Job.State.QUEUED and followers.must_wait(job):
        followers.settle(job)
    elif job.state != Job.State.RUNNING:
        summaries.tell(job)
    return None


def _time_limit(job: Job) -> float:
    """How long an attempt at the job may last, in seconds."""
    kind = find_kind(job.kind)
    return settings.JOB_TIME_LIMIT if kind is None or kind.time_limit is None else kind.time_limit
