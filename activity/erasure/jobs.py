"""The job that erases: again the key, then all that was made of the person's values while they could be read."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from activity import reindex
from activity.erasure import forget, index
from activity.erasure.forget import KIND
from activity.errors import LogUnavailable
from activity.jobs.errors import HandedBack
from activity.jobs.kinds import job_kind
from activity.jobs.run import Run
from tenants import subject_keys
from tenants.context import current


class EraseParams(BaseModel):
    """The digests of one person: their own first, then those of what else is theirs, such as an address."""

    model_config = ConfigDict(extra="forbid")

    subjects: list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]] = Field(min_length=1, max_length=50)


@job_kind(
    KIND,
    title="Erasure of a person",
    verb="activity.erase",
    params=EraseParams,
    counts=("events",),
    is_always_started=True,
    own_address="/activity/erasures",
    unit="events",
)
def activity_erase(run: Run, params: EraseParams) -> None:
    """Each part bears being done again. While MongoDB is away, or an older job still runs, it goes back and waits."""
    subject_keys.destroy(current(), params.subjects, by=f"{run.job.actor['type']}:{run.job.actor['id']}")
    try:
        if "settled" not in run.saved:
            index.settle(current(), check=run.check)
            with run.step():
                forget.forget(params.subjects)
                run.saved = {"settled": forget.moment()}
        _take_out(run, params)
    except LogUnavailable as error:
        raise HandedBack(reason=error.reason) from error
    _wait_for_others(run)
    with run.step():
        forget.forget(params.subjects)
        _wait_for_others(run)  # one may have gone on meanwhile; from here on those that wait begin anew
    subject_keys.finish(current(), params.subjects)


def _wait_for_others(run: Run) -> None:
    if forget.is_underway(run.saved["settled"]):
        raise HandedBack(reason="a job that may have read what is erased still runs", again_in=60)


def _take_out(run: Run, params: EraseParams) -> None:
    """As index.take_out, in steps."""
    first, last = run.saved.get("first", 1), index.last_number()
    run.total = last
    while first <= last:
        with run.step():
            through = min(last, first + index.WIDTH - 1)
            run.counts["events"] += reindex.reindex(current(), params.subjects, first, through)
            run.done = through
            first = through + 1
            run.saved = {**run.saved, "first": first}
