"""Every error of jobs.

JobError
├── KindUnknown             no kind of job has this name
├── ParametersInvalid       a kind's parameters can't be accepted
├── JobNotFound             no such job here
├── LinkInvalid             a signed link to a file is not one of this tenant's, or has expired
├── JobFinished             what was asked is for a job that hasn't ended
├── JobNotFailed            what was asked is for a job that has failed
├── UniqueTaken             another job with the same key isn't finished
├── UploadGone              the file that a job is to work on was removed
├── UploadRefused           what was sent can't be taken as the job's file
└── JobFailed               raised by a kind: the job can't be done, and its sentence says why

Stopped                     the run must end now; raised inside a kind by its `Run`, which the kind lets pass
├── LeaseLost               another attempt has the job, or none: nothing of this one counts any more
├── Cancelled               somebody cancelled the job
├── TimeLimitReached        the attempt has lasted for as long as its kind may
└── HandedBack              the worker is stopping, or it can't go on now (the tenant isn't served, say): another attempt does later
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenants.errors import TenantryError


class JobError(TenantryError):
    """Base of the errors of jobs."""


class KindUnknown(JobError):
    """Raised when no kind of job has this name, or it can't be started this way."""

    status = 422

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.errors = {"kind": [sentence]}


class ParametersInvalid(JobError):
    """Raised when a kind's parameters can't be accepted. `errors` has the sentences by field."""

    status = 422

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        field, sentences = next(iter(errors.items()))
        super().__init__(f"{field}: {sentences[0]}")
        self.errors = dict(errors)


class JobNotFound(JobError):
    """Raised when an id names no job here."""

    status = 404

    def __init__(self, what: str = "job") -> None:
        super().__init__(f"There is no such {what}.")


class LinkInvalid(JobError):
    """Raised when a signed link leads nowhere: it was altered, or is of another tenant (404), or its time is over (410)."""

    def __init__(self, sentence: str, *, status: int = 404) -> None:
        super().__init__(sentence)
        self.status = status


class JobFinished(JobError):
    """Raised when a job that has ended is to be cancelled."""

    status = 409

    def __init__(self, state: str) -> None:
        outcome = "was cancelled" if state == "cancelled" else f"has {state}"
        super().__init__(f"This job {outcome} already; there is nothing left to cancel.")
        self.state = state


class JobNotFailed(JobError):
    """Raised when a job that hasn't failed is to be tried again."""

    status = 409

    def __init__(self, state: str) -> None:
        super().__init__(f"Only a job that has failed can be tried again; this one is {state}.")
        self.state = state


class UniqueTaken(JobError):
    """Raised when a job is to be tried again while another one of its kind with the same key isn't finished."""

    status = 409

    def __init__(self) -> None:
        super().__init__("Another job of this kind with the same key isn't finished; try again when it has ended.")


class UploadGone(JobError):
    """Raised when a job is to be tried again whose upload was removed, as an erasure does."""

    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(f"The file {name}, which this job works on, was removed meanwhile. Send it again.")
        self.name = name


class UploadRefused(JobError):
    """Raised when an upload can't be taken: too large (413), without a length (411), or not what the kind reads (422)."""

    def __init__(self, sentence: str, *, status: int = 422) -> None:
        super().__init__(sentence)
        self.status = status
        if status == 422:
            self.errors = {"file": [sentence]}


class JobFailed(JobError):
    """Raised by a kind when the job can't be done. The sentence is shown to whoever started it; a new attempt would not help."""


class Stopped(Exception):
    """Base of what ends a run from outside. A kind doesn't catch it: what its open step wrote is rolled back."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(type(self).__name__)
        self.facts = facts


class LeaseLost(Stopped):
    """Raised when the job belongs to another attempt by now, so that nothing of this one may be written."""


class Cancelled(Stopped):
    """Raised when somebody has cancelled the job."""


class TimeLimitReached(Stopped):
    """Raised when the attempt has lasted for as long as its kind may."""


class HandedBack(Stopped):
    """Raised when this worker is about to stop, or the job can't go on now: it waits for another attempt, in `again_in` seconds."""

    def __init__(self, *, reason: str, again_in: float = 10.0) -> None:
        super().__init__(reason=reason)
        self.again_in = again_in
