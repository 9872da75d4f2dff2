"""The job that writes the activity log to a file, in parts: what was written when a worker died isn't read again."""

from __future__ import annotations

import tempfile
import time
from typing import Final

from pydantic import ConfigDict

from activity import exports, selectors
from activity.errors import LogUnavailable
from activity.jobs import files
from activity.jobs.errors import HandedBack
from activity.jobs.run import Run
from activity.log import Document, Walk, take
from activity.personal import widened
from activity.schemas import ExportFilter
from tenants import context

EXPORT: Final = "activity.export"
PORTION: Final = 500  # events that are read at once
PART_EVENTS: Final = 20_000
PART_SECONDS: Final = 2.0  # after which a part ends, so that no more than that is lost with a worker
PATIENCE: Final = 20.0  # seconds; after them the worker turns to another job while MongoDB is away


class ExportParams(ExportFilter):
    """Which events, and how they are written."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    format: exports.Format = "csv"


EXPORT_PARAMS: Final = frozenset(field.alias or name for name, field in ExportParams.model_fields.items())


def activity_export(run: Run, params: ExportParams) -> None:
    """Write the events that are in the log when the job begins. `saved` has that end, where to go on, and the parts that are written."""
    ref = context.current()
    query = widened(ref, params.query())
    first, head = selectors.log_bounds(ref)
    if not run.saved:
        with run.step():
            cursor = Walk(ref, first=first, head=head, query=query, cursor=None).cursor
            run.saved = {"head": head, "cursor": cursor, "parts": []}
            run.total = None if query.conditions() or query.start or query.end else head - first + 1
    walk = Walk(ref, first=first, head=run.saved["head"], query=query, cursor=run.saved["cursor"])
    while run.saved["cursor"] is not None:
        _write_part(run, walk, params.format)
    _join(run, params.format)


def _write_part(run: Run, walk: Walk, form: exports.Format) -> None:
    """Write events to a part until there are enough, and note it together with where to go on."""
    count, until = 0, time.monotonic() + PART_SECONDS
    with tempfile.TemporaryFile() as file:
        while not walk.at_end and count < PART_EVENTS and time.monotonic() < until:
            documents = _patiently(run, walk)
            file.write(exports.lines(form, selectors.shown(walk.ref, documents)))
            count += len(documents)
        file.seek(0)
        name = files.save_part(run.job, len(run.saved["parts"]), file)
    with run.step():
        run.done += count
        run.saved = {**run.saved, "cursor": walk.cursor, "parts": [*run.saved["parts"], name]}


def _patiently(run: Run, walk: Walk) -> list[Document]:
    """The next documents. Raises HandedBack, which blames nobody, when MongoDB stays away."""
    until = time.monotonic() + PATIENCE
    while True:
        run.check()
        try:
            return take(walk, PORTION)
        except LogUnavailable as error:
            if time.monotonic() >= until:
                raise HandedBack(reason="MongoDB is away") from error
            time.sleep(0.5)


def _join(run: Run, form: exports.Format) -> None:
    parts: list[str] = run.saved["parts"]
    with run.writing_result(f"activity.{form}") as result:
        result.write(exports.header(form))
        for name in parts:
            run.check()
            with files.open_part(name) as part:
                for block in part.chunks():
                    result.write(block)
    with run.step():
        run.counts["rows"] = run.total = run.done
