"""`/activity/verify`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from activity import selectors, verify
from activity.api import caller
from activity.jobs.schemas import JobOut
from activity.jobs.services import job_start
from activity.proof.jobs import VERIFY, outcome_shown
from activity.proof.schemas import KeysOut, VerifyOut
from activity.proof.selectors import verification_running
from tenants.context import current

router = Router(tags=["Activity"])


@router.get("/activity/verify", response={200: VerifyOut, 202: JobOut}, summary="Verify the activity log")
def activity_verify(request: HttpRequest) -> Status[dict[str, Any]]:
    """At once for up to 50,000 events. Beyond that it is a job (202, the one that runs already if there is one): its result is the same."""
    caller(request).require("activity.read")
    if selectors.events_total(current()) <= verify.AT_ONCE:
        return Status(200, outcome_shown(verify.verify(current())))
    job = verification_running()
    if job is None:
        caller(request).require("jobs.write")
        job = job_start(kind=VERIFY)
    return Status(202, JobOut.of(job))


@router.get("/activity/verify/keys", response=KeysOut, summary="The public keys that the log is signed with")
def activity_verify_keys(request: HttpRequest) -> dict[str, Any]:
    """With one of them, and nothing else, a proof file is verified: start the job `activity.proof` to get one."""
    caller(request).require("activity.read")
    texts = verify.public_keys().texts()
    return {"keys": [{"id": key_id, "public_key": text} for key_id, text in texts.items()]}
