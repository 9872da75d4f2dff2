"""Holds a job's lease while its kind works, and hears that it was cancelled, taken over, has lasted too long, or its worker is stopping."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Final, Self

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from psycopg.pq import TransactionStatus

from activity.jobs import lease, shutdown, slots
from activity.jobs.errors import Cancelled, HandedBack, LeaseLost, Stopped, TimeLimitReached
from activity.jobs.run import Run
from tenants import context, usage
from tenants.db.copying import Copies, copies
from tenants.refs import Ref, TenantRef

log = structlog.get_logger(__name__)

# Seconds between two looks at the job's row: a cancelled job stops within one of them and the step that it is in.
LOOK_EVERY: Final = 0.5


class Heartbeat:
    """A thread beside the run. It ends with the block, before anybody finishes the job, so that it interrupts nothing else."""

    def __init__(self, run: Run, ref: Ref, *, time_limit: float) -> None:
        self.run = run
        self.ref = ref
        self.time_limit = time_limit  # seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="job-heartbeat", daemon=True)
        # The connection that the kind's own statements use, and its COPYs, so that a long one can be interrupted.
        self._worked_on: Any = None
        self._copies = Copies()
        self._counted_at = time.monotonic()

    def __enter__(self) -> Self:
        connection.ensure_connection()
        self._worked_on = connection.connection
        self._token = copies.set(self._copies)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        copies.reset(self._token)
        self._count()

    def _count(self) -> None:
        """Count the seconds since the last time, so that those of an attempt whose worker is killed are known but for the last."""
        now = time.monotonic()
        if isinstance(self.ref, TenantRef):
            usage.count(self.ref, job_seconds=now - self._counted_at)
        self._counted_at = now

    def _beat(self) -> None:
        began_at = held_at = renewed_at = time.monotonic()
        while not self._ended.wait(LOOK_EVERY):
            slots.stamp()
            self._count()
            now = time.monotonic()
            try:
                if shutdown.is_asked_for():
                    raise HandedBack(reason="worker stopping", again_in=0)
                if (
                    now - began_at >= self.time_limit
                ):  # and the lease goes on, so that nobody else begins before the kind has heard of it
                    self._interrupt(TimeLimitReached(seconds=self.time_limit))
                with context.use(self.ref):
                    if now - renewed_at >= settings.JOB_LEASE / 3:
                        is_cancelled = lease.renew(self.run.job)
                        renewed_at = now
                    else:
                        is_cancelled = lease.look(self.run.job)
                if is_cancelled:
                    raise Cancelled(job=str(self.run.job.pk))
                held_at = now
            except Stopped as reason:
                self._interrupt(reason)
                return
            except DatabaseError as error:
                log.warning("job_heartbeat_missed", job=str(self.run.job.pk), error=type(error).__name__)
                if now - held_at > settings.JOB_LEASE:  # somebody else may have it by now
                    self._interrupt(LeaseLost(job=str(self.run.job.pk), attempt=self.run.job.attempt))
                    return

    def _interrupt(self, reason: Stopped) -> None:
        self.run.stop(reason)
        try:
            if self._worked_on.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self._worked_on.cancel_safe(timeout=1.0)
            self._copies.interrupt(timeout=1.0)
        except Exception as error:  # the run hears of it at its next check all the same
            log.info("job_not_interrupted", job=str(self.run.job.pk), error=type(error).__name__)
