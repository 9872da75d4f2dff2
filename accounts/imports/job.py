"""The job that takes a file in.

A batch is one transaction with the job's checkpoint, so that a kill anywhere leaves each row done once or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import IO, Any, Final, NamedTuple
from uuid import UUID

from django.dispatch import receiver
from pydantic import BaseModel, ConfigDict

from accounts.imports import batches
from accounts.imports.batches import Mode
from accounts.imports.rules import Rules
from accounts.models import ImportedRow
from accounts.services.room import room_lock, too_many
from activity.erasure.signals import person_erased
from activity.jobs import reading
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.services import Input, job_start
from activity.jobs.tables import Format, Layout, Row

KIND: Final = "members.import"
BATCH: Final = 5_000


class Batch(NamedTuple):
    """Rows that were read: the good ones as `batches.take` takes them, how many there are in all, and the last one's number."""

    good: list[str]
    read: int
    last: int


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


def import_start(file: IO[bytes], *, name: str, params: ImportParams, frees: int = 0) -> Job:
    """Start the import of a file; `frees` bytes of another one go then. Raises PlanLimitReached, and what job_start does."""
    return job_start(kind=KIND, params=params.model_dump(mode="json"), upload=Input(file, name, frees))


def members_import(run: Run, params: ImportParams) -> None:
    """Take the file in, batch by batch, from where the last attempt ended; in a dry run only say what would become of it.

    `run.saved` has the number of the last row that is done with. `run.counts`: created, updated, unchanged, refused.
    """
    rules = Rules(params.columns, params.width, separator=params.separator)
    with run.input() as file:
        table = reading.open_table(file, params.layout)
        if run.total is None:
            total = sum(1 for _ in table.rows())  # what can't be read fails the job before anything is taken in
            with run.step():
                run.total = total
        done_with = int(run.saved.get("row", 0))
        ahead = (row for row in table.rows() if row.number > done_with)
        for first in ahead:
            batch = _read(run, chain((first,), islice(ahead, BATCH - 1)), rules)
            with run.step():
                _take(run, batch, params)
        with run.step():
            ImportedRow.objects.filter(job_id=run.job.pk).delete()


def staged_prune() -> int:
    """Throw away the rows that were kept beside for jobs which won't go on: cancelled, or gone; answers how many."""
    going_on = Job.objects.filter(state__in=(*Job.UNFINISHED, Job.State.FAILED))
    return ImportedRow.objects.exclude(job_id__in=going_on.values("pk")).delete()[0]


@receiver(person_erased, dispatch_uid="accounts.imports.job.staged_forget")
def staged_forget(**_: Any) -> None:
    """Of an import that failed nothing goes on: an erasure takes its file away."""
    ImportedRow.objects.filter(job_id__in=Job.objects.filter(state=Job.State.FAILED).values("pk")).delete()


def _read(run: Run, rows: Iterable[Row], rules: Rules) -> Batch:
    """Read a batch before its step, which a slow file must not keep open. Rows are held as text alone: objects would keep the garbage
    collector busy.
    """
    job = run.job.pk
    good: list[str] = []
    count = number = 0
    for row in rows:
        count, number = count + 1, row.number
        values = rules.values(row)
        if values is not None:
            good.append(batches.line(job, number, values))
        else:
            for column, value, reason in rules.problems(row):
                run.problem(number, column, value, reason)
    return Batch(good, count, number)


def _room(run: Run, params: ImportParams) -> batches.Room | None:
    """For how many there is room, which nobody else takes until this batch has committed; None where the plan doesn't limit it."""
    members = room_lock()
    if members is None:
        return None
    if params.dry_run:  # which adds nobody: what the batches before would have added is taken
        members = max(0, members - run.counts["created"])
    return batches.Room(members, too_many())


def _take(run: Run, batch: Batch, params: ImportParams) -> None:
    after = int(run.saved.get("row", 0))
    taken = batches.take(
        run.job.pk, batch.good, after=after, mode=params.mode, dry_run=params.dry_run, room=_room(run, params)
    )
    for refused in taken.refused:
        run.problem(*refused)
    run.counts.update(
        created=taken.created,
        updated=taken.updated,
        unchanged=taken.unchanged,
        refused=batch.read - len(batch.good) + len(taken.refused),
    )
    run.done += batch.read
    run.saved = {"row": batch.last}
