"""A kind of job whose effect can be counted: it writes notes, one for each number, each in a step of its own."""

from __future__ import annotations

import os
import signal
import time

from pydantic import BaseModel, ConfigDict

from activity.jobs.kinds import NoParams, job_kind
from activity.jobs.run import Run
from tests.notes.models import Note


class WriteParams(BaseModel):
    """How many notes, by what title, and how long each takes, in seconds."""

    model_config = ConfigDict(extra="forbid")

    title: str
    count: int
    pause: float = 0.0


@job_kind("notes.write", title="Write notes", verb="jobs.write", params=WriteParams)
def notes_write(run: Run, params: WriteParams) -> None:
    """Nothing in the database keeps a note from being written twice: only the job's own machinery does."""
    run.total = params.count
    for number in range(run.saved.get("next", 0), params.count):
        with run.step():
            Note.objects.create(title=params.title, body=str(number))
            time.sleep(params.pause)
            run.done = number + 1
            run.counts["written"] += 1
            run.saved = {"next": number + 1}


@job_kind("notes.die", title="Die", verb="jobs.write")
def notes_die(run: Run, params: NoParams) -> None:
    """End the process that runs it, as one does that runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
