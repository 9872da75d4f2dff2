"""The job that takes a file in.

A batch is one transaction with the job's checkpoint, so that a kill anywhere leaves each row done once or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import IO, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from accounts.imports import batches
from accounts.imports.batches import Mode
from accounts.imports.rules import Rules
from accounts.models import ImportedRow
from accounts.services.room import room_lock, too_many
from activity.jobs import reading
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.services import Input, job_start
from activity.jobs.tables import Format, Layout, Row

KIND: Final = "members.import"
BATCH: Final = 5_000


class ImportParams(BaseModel):
    """How the file is to be read, as it was found out or said when it was sent, and what is to be done with it.

    `waiting` is the file on the page from which it was started, where it stays after a dry run.
    """

    model_config = ConfigDict(extra="forbid")

    format: Format = "csv"
    encoding: str
    separator: str
    columns: dict[str, int]
    width: int
    sha256: str
    size: int
    mode: Mode = "create_and_update"
    dry_run: bool = False
    waiting: UUID | None = None

    @property
    def layout(self) -> Layout:
        """How the file is to be read."""
        return Layout(self.format, self.encoding, self.separator)


def import_start(file: IO[bytes], *, name: str, params: ImportParams) -> Job:
    """Start the import of a file."""
    return job_start(kind=KIND, params=params.model_dump(mode="json"), upload=Input(file, name))


def members_import(run: Run, params: ImportParams) -> None:
    """Take the file in, batch by batch, from where the last attempt ended; in a dry run only say what would become of it.

    `run.saved` has the number of the last row that is done with. `run.counts`: created, updated, unchanged, refused.
    """
    rules = Rules(params.columns, params.width, separator=params.separator)
    with run.input() as file:
        table = reading.open_table(file, params.layout)
        if run.total is None:
            total = _count(run, table.rows())
            with run.step():
                run.total = total
        done_with = int(run.saved.get("row", 0))
        ahead = (row for row in table.rows() if row.number > done_with)
        for first in ahead:
            with run.step():
                run.saved = {"row": _take(run, chain((first,), islice(ahead, BATCH - 1)), rules, params)}
        with run.step():
            ImportedRow.objects.filter(job_id=run.job.pk).delete()


def _count(run: Run, rows: Iterator[Row]) -> int:
    """How many rows there are; one that can't be read fails the job before anything is taken in."""
    count = 0
    for count, _ in enumerate(rows, start=1):
        if count % 10_000 == 0:
            run.check()
    return count


def _room(run: Run, params: ImportParams) -> batches.Room | None:
    """For how many there is room, which nobody else takes until this batch has committed; None where the plan doesn't limit it."""
    members = room_lock()
    if members is None:
        return None
    if params.dry_run:  # which adds nobody: what the batches before would have added is taken
        members = max(0, members - run.counts["created"])
    return batches.Room(members, too_many())


def _take(run: Run, batch: Iterable[Row], rules: Rules, params: ImportParams) -> int:
    """Take a batch in; answers the number of its last row. Rows are held as text alone: objects would keep the garbage collector busy."""
    job = run.job.pk
    after = int(run.saved.get("row", 0))
    good: list[str] = []
    count = number = 0
    for row in batch:
        count, number = count + 1, row.number
        values = rules.values(row)
        if values is not None:
            good.append(batches.line(job, number, values))
        else:
            for column, value, reason in rules.problems(row):
                run.problem(number, column, value, reason)
    taken = batches.take(job, good, after=after, mode=params.mode, dry_run=params.dry_run, room=_room(run, params))
    for refused in taken.refused:
        run.problem(*refused)
    run.counts.update(
        created=taken.created,
        updated=taken.updated,
        unchanged=taken.unchanged,
        refused=count - len(good) + len(taken.refused),
    )
    run.done += count
    return number
