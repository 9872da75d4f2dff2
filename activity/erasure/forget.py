"""What may hold an event, or a person, in clear besides the log: what jobs leave behind, and what other apps say that they have."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from activity.erasure.signals import person_erased
from activity.jobs import files
from activity.jobs.models import Job, JobProblem
from activity.personal import ERASED
from tenants import subject_keys
from tenants.context import current

KIND: Final = "activity.erase"  # the job's kind


def forget(subjects: Collection[str]) -> None:
    """Delete the files that jobs have made, wholly or in part, and those that failed ones were sent; blank the values in their reports, and
    take the erased person's name from their jobs; tell others.

    A file may hold anybody, so all go: who needs one has it made, or sends it, again. To be called in a transaction.
    """
    for job in Job.objects.exclude(result_file="").select_for_update():
        files.delete(job.result_file)
        Job.objects.filter(pk=job.pk).update(result_file="", result_removed_at=Now())
    # Or a retry would take the person in again.
    for job in Job.objects.filter(state=Job.State.FAILED).exclude(input_file="").select_for_update():
        files.delete(job.input_file)
        Job.objects.filter(pk=job.pk).update(input_file="")
    # Of those that have ended a worker may have been killed before the clean-up, and left what nobody needs any more.
    goes_on = Q(state__in=(Job.State.QUEUED, Job.State.FAILED), attempt__gt=0)
    has_files = Q(pk__in=files.jobs_with_files())
    for job in Job.objects.filter(goes_on | has_files).exclude(state=Job.State.RUNNING).select_for_update():
        files.forget_made(job)
    JobProblem.objects.exclude(value="").update(value="")
    for job in Job.objects.only("actor", "cancelled_by", "ip"):
        _forget_names(job, subjects)
    person_erased.send(sender=forget, subjects=subjects)


def moment() -> str:
    """Now, by Postgres's clock, which the times of jobs are of."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now.isoformat()


def is_underway(settled: str) -> bool:
    """Whether a job that began before that moment still runs: what it has read may be in the file that it will leave."""
    older = Job.objects.filter(state=Job.State.RUNNING, started_at__lte=datetime.fromisoformat(settled))
    return older.exclude(kind=KIND).exists()


def _forget_names(job: Job, subjects: Collection[str]) -> None:
    changed = []
    for field in ("actor", "cancelled_by"):
        party = getattr(job, field)
        if party and party["name"] and subject_keys.digest(current(), f"{party['type']}:{party['id']}") in subjects:
            setattr(job, field, {**party, "name": ERASED})
            changed.append(field)
    if "actor" in changed and job.ip:
        job.ip = ""
        changed.append("ip")
    if changed:
        job.save(update_fields=changed)
