"""A job's files in the tenant's storage: `jobs/<id>/…`. A result carries its attempt's number, so that a late one overwrites nothing."""

from __future__ import annotations

import contextlib
import os
from typing import IO, Any
from uuid import UUID

import structlog
from django.core.files import File
from django.core.files.storage import default_storage

from activity.jobs.errors import HandedBack
from activity.jobs.models import Job
from tenants import context, directory, disk, plan_limits
from tenants.refs import TenantRef

log = structlog.get_logger(__name__)


def save_input(job_id: UUID, file: IO[bytes]) -> str:
    """Keep an upload for a job that is about to be made; returns its name in storage."""
    return default_storage.save(f"jobs/{job_id}/input", File(file))


def size_of(file: IO[bytes]) -> int:
    """How many bytes a file has from where it stands to its end."""
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return size


def open_input(job: Job) -> File[Any]:
    """The upload that the job works on."""
    return default_storage.open(job.input_file, "rb")


def save_result(job: Job, file: File[Any]) -> str:
    """Keep what an attempt made; returns its name in storage. Its parts go with the job's end. Raises PlanLimitReached, and HandedBack."""
    plan_limits.check_storage(file.size, frees=sum(map(default_storage.size, parts_of(job))))
    return _unless_gone(default_storage.save(f"jobs/{job.pk}/result-{job.attempt}", file))


def save_part(job: Job, number: int, file: IO[bytes]) -> str:
    """Keep a part of what the job makes, until the job has ended; returns its name in storage. Raises PlanLimitReached, and HandedBack."""
    plan_limits.check_storage(size_of(file))
    return _unless_gone(default_storage.save(f"jobs/{job.pk}/part-{job.attempt}-{number}", File(file)))


def _unless_gone(name: str) -> str:
    """The name of what was just kept; a tenant that was deleted meanwhile, with its folder, must not have it again. Raises HandedBack."""
    ref = context.current()
    if isinstance(ref, TenantRef) and ref.alias not in directory.active_aliases([ref.id]):
        delete(name)
        raise HandedBack(reason="tenant not served here")
    return name


def open_part(name: str) -> File[Any]:
    """A part, by its name in storage."""
    return default_storage.open(name, "rb")


def parts_of(job: Job) -> list[str]:
    """The names in storage of all parts that there are, those of attempts that were given up included."""
    return _names_of(job, "part-")


def leftovers(job: Job) -> list[str]:
    """The names in storage of what nobody needs of a job that doesn't run: results of attempts that didn't finish it.

    Once it has ended, so are its upload and its parts; unless it failed, since it may be tried again, and goes on with what is there.
    """
    goes_on = job.state in {*Job.UNFINISHED, Job.State.FAILED}
    beginnings = ("result-",) if goes_on else ("result-", "part-", "input")
    return [name for name in _names_of(job, *beginnings) if name != job.result_file]


def _names_of(job: Job, *beginnings: str) -> list[str]:
    folder = f"jobs/{job.pk}"
    return [name for name in disk.file_names(folder) if name.removeprefix(f"{folder}/").startswith(beginnings)]


def jobs_with_files() -> set[UUID]:
    """The jobs of the active tenant that files are kept for."""
    found = set()
    for name in disk.file_names("jobs"):
        with contextlib.suppress(ValueError):  # what waits to be started is no job's yet
            found.add(UUID(name.split("/")[1]))
    return found


def forget_made(job: Job) -> None:
    """Delete what a job that doesn't run has written so far; if it was in parts, its next attempt begins anew."""
    delete(*leftovers(job))
    parts = parts_of(job)
    if parts:
        delete(*parts)
        Job.objects.filter(pk=job.pk).exclude(state=Job.State.RUNNING).update(
            checkpoint={}, counts={}, done=0, total=None
        )


def open_result(job: Job) -> File[Any]:
    """What the job made. Raises FileNotFoundError."""
    return default_storage.open(job.result_file, "rb")


def delete(*names: str) -> None:
    """Delete files by their names in storage. What can't be deleted is logged and left to the daily upkeep."""
    for name in names:
        if name:
            try:
                default_storage.delete(name)
            except OSError as error:
                log.warning("job_file_left", file=name, error=type(error).__name__)


def delete_all(job_id: UUID) -> None:
    """Delete whatever is kept for a job, its folder included."""
    folder = f"jobs/{job_id}"
    delete(*disk.file_names(folder), folder)
