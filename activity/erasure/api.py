"""`/activity/erasures`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from pydantic import ConfigDict

from activity.api import caller
from activity.erasure.services import erase_subject
from activity.jobs.schemas import JobOut
from activity.schemas import PartyFilter

router = Router(tags=["Activity"])


class ErasureIn(Schema):
    model_config = ConfigDict(extra="forbid")

    subject: PartyFilter = Field(
        description="As `type:id`, such as `member:0190…`, your own `user:7`, or `address:ada@example.com`."
    )


@router.post("/activity/erasures", response={202: JobOut}, summary="Erase a person from the log")
def erasure_create(request: HttpRequest, body: ErasureIn) -> Status[dict[str, Any]]:
    """What the log tells of them can't be read any more within two seconds; the job takes their words out of the index.

    There is no way back. Asked again, the answer is the same job. Members must be removed first (409).
    """
    caller(request).require("activity.erase")
    return Status(202, JobOut.of(erase_subject(body.subject)))
