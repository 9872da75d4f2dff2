"""Signed links to a job's file, for use without a session: from a mail, or by another tool. They expire.

Who has a link has the file, as long as it holds. Its signature covers the tenant, the job, the attempt that made the file, the file's name
and the time. Nothing is kept of it; removing the file ends it early.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.signing import Signer
from django.db import transaction
from django.utils.crypto import constant_time_compare
from django.utils.http import urlencode

from activity.jobs.errors import JobNotFound, LinkInvalid
from activity.jobs.events import FileLinked
from activity.jobs.models import Job
from activity.jobs.selectors import job_get
from activity.outbox import record
from tenants import context

LONGEST: Final = 7 * 24 * 60 * 60  # seconds
SHORTEST: Final = 60


@dataclass(frozen=True, slots=True)
class Link:
    """A path on the tenant's host with its query, and until when it holds."""

    path: str
    expires_at: datetime


def link_make(*, job: Job, seconds: int | None = None) -> Link:
    """A link to the job's file for so many seconds (settings.FILE_LINK_MINUTES), and its event. Raises JobNotFound without a file."""
    if not job.result_file:
        raise JobNotFound("file")
    lifetime = min(max(seconds or settings.FILE_LINK_MINUTES * 60, SHORTEST), LONGEST)
    expires = int(time.time()) + lifetime
    expires_at = datetime.fromtimestamp(expires, UTC)
    with transaction.atomic():
        record(FileLinked.of(job, file=job.result_name, expires_at=expires_at.isoformat()))
    query = urlencode({"expires": str(expires), "signature": _signature(job, expires)})
    return Link(f"/jobs/{job.pk}/file?{query}", expires_at)


def link_open(*, job_id: UUID, expires: str, signature: str) -> Job:
    """The job whose file a link leads to. Raises LinkInvalid: 404, or 410 when it was good once."""
    wrong = LinkInvalid("This link is not complete, or not of this organisation. Ask whoever sent it for another one.")
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
        raise wrong
    try:
        job = job_get(job_id)
    except JobNotFound:
        raise wrong from None
    if not constant_time_compare(_signature(job, int(expires)), signature):
        raise wrong
    if int(expires) <= time.time():
        raise LinkInvalid("This link has expired. Ask whoever sent it for another one.", status=410)
    if not job.result_file:
        raise LinkInvalid("The file that this link led to was removed.", status=410)
    return job


def _signature(job: Job, expires: int) -> str:
    tenant = context.current().id
    return Signer(salt=f"activity.jobs.links:{tenant}").signature(f"{job.pk}:{job.attempt}:{job.result_name}:{expires}")
