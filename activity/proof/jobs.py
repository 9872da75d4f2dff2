"""The kinds of job of the chain: verifying a whole log, and writing a proof file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import orjson

from activity.chain.statements import Forged
from activity.errors import LogUnavailable
from activity.jobs.errors import JobFailed
from activity.jobs.kinds import NoParams, job_kind
from activity.jobs.run import Run
from activity.proof.export import proof_lines
from activity.verify import Outcome, verify
from tenants import context

VERIFY: Final = "activity.verify"
PROOF: Final = "activity.proof"


def outcome_shown(outcome: Outcome) -> dict[str, Any]:
    """What a verification found, as the API shows it."""
    bad = outcome.first_bad
    return {"valid": outcome.valid, "checked": outcome.checked, "first_bad": bad and asdict(bad)}


@job_kind(VERIFY, title="Verification of the log", verb="activity.read", counts=("checked", "bad"), unit="events")
def activity_verify(run: Run, params: NoParams) -> None:
    """Walk the whole log; the outcome is the file, and what the job's checkpoint holds as `outcome`."""

    def progress(place: dict[str, Any], done: int, total: int) -> None:
        run.saved, run.done, run.total = place, done, total
        run.report()

    try:
        outcome = outcome_shown(verify(context.current(), saved=run.saved, progress=progress))
    except LogUnavailable as error:
        raise JobFailed(error.message) from error
    with run.step():
        run.saved = {"outcome": outcome}
        run.done = run.total = outcome["checked"]
        run.counts = run.counts.__class__({"checked": outcome["checked"], "bad": 0 if outcome["valid"] else 1})
    with run.writing_result("verification.json") as file:
        file.write(orjson.dumps(outcome, option=orjson.OPT_INDENT_2))


@job_kind(PROOF, title="Proof file", verb="activity.read", counts=("events",), unit="events")
def activity_proof(run: Run, params: NoParams) -> None:
    """Write the log with all that was signed of it, for `manage.py activity_verify`."""

    def progress(done: int, total: int) -> None:
        run.done, run.total = done, total
        run.report()

    try:
        with run.writing_result("activity-proof.ndjson") as file:
            for lines in proof_lines(context.current(), progress):
                file.write(lines)
    except LogUnavailable as error:
        raise JobFailed(error.message) from error
    except Forged as error:
        raise JobFailed(f"No proof can be given: {error.sentence} Verify the log.") from error
    with run.step():
        run.counts["events"] = run.done
        run.total = run.done
