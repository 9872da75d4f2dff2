"""What Tenantry itself puts into an archive, but for people, whom accounts knows: settings, jobs, schedules, the log, and files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final
from uuid import UUID

import orjson
from django.core.files.storage import default_storage

from activity import exports, selectors
from activity.archive.parts import Entry, archive_part, ndjson
from activity.chain.statements import Forged
from activity.jobs.models import Job
from activity.log import Walk, take
from activity.proof.export import proof_lines
from activity.retention import kept_days
from activity.schedules.models import Schedule
from activity.search import Query
from tenants import context, disk
from tenants.models import Tenant

KIND: Final = "tenant.archive"
PORTION: Final = 500  # events that are read at once
BLOCK: Final = 256 * 1024  # bytes of a file that are read at once


@archive_part("settings")
def settings_part() -> Iterator[Entry]:
    """What the organisation is, and how it is set up."""
    ref = context.current()
    tenant = Tenant.objects.get(pk=ref.id)
    facts = {
        **{name: getattr(tenant, name) for name in ("id", "slug", "name", "plan", "state", "time_zone", "created_at")},
        "activity_kept_days": kept_days(ref),
    }
    yield Entry("tenant.json", [orjson.dumps(facts, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z)])


@archive_part("jobs")
def jobs_part() -> Iterator[Entry]:
    """The list of the jobs; what they made is among the files."""
    shown = ("id", "kind", "params", "state", "done", "total", "counts", "error", "actor")
    files = ("input_name", "result_name", "created_at", "started_at", "finished_at")
    yield ndjson("jobs.ndjson", Job.objects.order_by("created_at", "id").values(*shown, *files))


@archive_part("schedules")
def schedules_part() -> Iterator[Entry]:
    """What is started again and again, and when."""
    shown = ("id", "name", "kind", "params", "every", "minute", "at", "weekday", "day", "time_zone", "actor")
    state = ("is_paused", "paused_reason", "next_at", "last_job_id", "last_at", "created_at")
    yield ndjson("schedules.ndjson", Schedule.objects.order_by("created_at", "id").values(*shown, *state))


@archive_part("activity")
def activity_part() -> Iterator[Entry]:
    """The log as people read it, and the proof file of the same log, or why there is none. Raises LogUnavailable."""
    ref = context.current()
    yield Entry("activity.ndjson", _log_lines())
    lines = proof_lines(ref)
    try:
        first = next(lines)
    except Forged as error:
        yield Entry("no-proof.txt", [f"No proof can be given: {error.sentence} Verify the log.\n".encode()])
    else:
        yield Entry("activity-proof.ndjson", chain([first], lines))


def _log_lines() -> Iterator[bytes]:
    ref = context.current()
    first, head = selectors.log_bounds(ref)
    walk = Walk(ref, first=first, head=head, query=Query(order="oldest"), cursor=None)
    while not walk.at_end:
        yield exports.lines("ndjson", selectors.shown(ref, take(walk, PORTION)))


@archive_part("files")
def files_part() -> Iterator[Entry]:
    """Every file in the tenant's storage, but for archives themselves, and what unfinished jobs are at work on or waits to be started."""
    for name in disk.file_names():
        if not _is_left_out(name):
            try:
                file = default_storage.open(name, "rb")
            except FileNotFoundError:  # removed in the meantime
                continue
            with file:
                yield Entry(name, file.chunks(BLOCK))


def _is_left_out(name: str) -> bool:
    parts = name.split("/")
    if parts[0] == "mail":  # what the development's mail backend sends: with links that sign in
        return True
    if parts[0] != "jobs" or len(parts) < 3:
        return False
    if parts[1] == "waiting":
        return True
    try:
        job_id = UUID(parts[1])
    except ValueError:
        return False
    job = Job.objects.filter(pk=job_id).only("kind", "state").first()
    return job is not None and (job.kind == KIND or not job.is_finished)
