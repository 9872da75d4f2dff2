"""What a kind sees of its job while it runs: how far it is, its files, and the steps in which it works."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, cast

from django.conf import settings
from django.core.files import File
from django.db import connection, transaction

from activity.jobs import files, lease, lines
from activity.jobs.errors import HandedBack, Stopped
from activity.jobs.models import Job, JobLine, JobProblem
from activity.jobs.pace import Pace
from activity.jobs.tables import Watched
from tenants import context, directory
from tenants.errors import TenantNotFound
from tenants.refs import TenantRef

REPORT_EVERY: Final = 0.5  # seconds between two notes of progress made outside of steps
MOST_PROBLEMS: Final = 100_000  # lines of a job's report: a file of 100 MB may have fifty million bad rows


class Run:
    """One attempt at a job.

    `done`, `total`, `counts` and `saved` are the job's progress as the last attempt left it. What a kind sets them to inside `step()`
    commits together with what it wrote there; a new attempt begins with what was committed last.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done: int = job.done
        self.total: int | None = job.total
        self.counts: Counter[str] = Counter(job.counts)
        self.saved: dict[str, Any] = dict(job.checkpoint)
        self.result: tuple[str, str] = ("", "")
        self._problems: list[JobProblem] = []
        self._problems_kept: int | None = None  # nobody has counted them yet
        self._lines: list[lines.Line] = []
        self._is_in_step = False
        self._pace = Pace(job.done)
        self._stop: Stopped | None = None
        self._reported_at = time.monotonic()

    # --- Working -----------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Stopped when the run must end: cancelled, taken over, or its worker is stopping. Costs nothing; call it in loops."""
        if self._stop is not None:
            raise self._stop

    def stop(self, reason: Stopped) -> None:
        """Have the next `check` raise `reason`. For the heartbeat, which is another thread."""
        self._stop = self._stop or reason

    @contextmanager
    def step(self) -> Iterator[None]:
        """A piece of work: one transaction, with the progress. Raises Stopped, and then nothing of it is kept.

        Keep it below a second or so: a step isn't interrupted, and what it locks stays locked.
        """
        self.check()
        self._check_route()
        self._is_in_step = True
        before = self.done, self.total, Counter(self.counts), dict(self.saved)
        try:
            with transaction.atomic():
                self._let_go_when_stopped()
                yield
                self._keep_problems()
                lines.write(self.job.pk, self._lines)
                self._checkpoint()
        except BaseException:
            self.done, self.total, self.counts, self.saved = before
            self._problems_kept = None
            raise
        finally:
            self._problems, self._lines, self._is_in_step = [], [], False

    def report(self) -> None:
        """Note `done` and `total` outside of a step, at most twice a second, for work that is one long read. Raises Stopped.

        Unless `saved` is another than before, it isn't progress: a job that was only reported on when its worker died is set aside in time.
        """
        self.check()
        if time.monotonic() - self._reported_at >= REPORT_EVERY:
            self._check_route()
            self._checkpoint(is_kept=False)

    def problem(self, row: int, column: str, value: str, reason: str) -> None:
        """Put a line into the job's report, with the step that is open or with the next one: what of the input wasn't taken, and why.

        The report ends after MOST_PROBLEMS lines, and says so.
        """
        self._problems.append(JobProblem.of(self.job.pk, row, column, value, reason))

    def note(self, sentence: str, *, level: str = "info") -> None:
        """Put a line into the job's log (`level`: info, warning, error): with the step that is open, or at once. Raises Stopped.

        It is shown to whoever may start the job, and kept as long as the job: no secrets, nothing of people.
        """
        line = lines.Line(sentence, JobLine.Level(level))
        if self._is_in_step:
            self._lines.append(line)
        else:
            self.check()
            self._check_route()
            lease.note(self.job, line)

    def _keep_problems(self) -> None:
        """As far as the report has room for them; a last line says that it ends."""
        if not self._problems:
            return
        if self._problems_kept is None:
            self._problems_kept = JobProblem.objects.filter(job_id=self.job.pk).count()
        room = MOST_PROBLEMS - self._problems_kept
        kept = self._problems[: max(0, room)]
        if 0 <= room < len(self._problems):
            end = f"The report ends here, with {MOST_PROBLEMS:,} lines. Mend these rows and send the file again."
            last = max(problem.row for problem in self._problems)
            kept.append(JobProblem.of(self.job.pk, last, "", "", end))
        JobProblem.objects.bulk_create(kept, batch_size=1000)
        self._problems_kept += len(kept)

    def _checkpoint(self, *, is_kept: bool = True) -> None:
        lease.checkpoint(
            self.job,
            done=self.done,
            total=self.total,
            counts=self.counts,
            saved=self.saved,
            rate=self._pace.rate(self.done),
            is_kept=is_kept,
        )
        self._reported_at = time.monotonic()

    def _let_go_when_stopped(self) -> None:
        """A process that is stopped in mid-transaction must not keep its locks from the attempt that takes over: Postgres ends it."""
        with connection.cursor() as cursor:
            milliseconds = f"{max(1, round(settings.JOB_LEASE * 1000))}"
            cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [milliseconds])

    def _check_route(self) -> None:
        """Leave when the tenant was suspended, moved or deleted meanwhile: this database may not be its own any more."""
        ref = context.current()
        if isinstance(ref, TenantRef):
            try:
                now = directory.by_id(ref.id)
            except TenantNotFound:
                raise HandedBack(reason="tenant gone") from None
            if now.state != "active" or now.alias != ref.alias:
                raise HandedBack(reason="tenant not served here")

    # --- Files -------------------------------------------------------------------------------------------------------------

    @contextmanager
    def input(self) -> Iterator[IO[bytes]]:
        """The uploaded file, opened for reading, which raises Stopped when the run must end."""
        with files.open_input(self.job) as file:
            yield cast(IO[bytes], Watched(file, self.check))

    @contextmanager
    def writing_result(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write the job's result to, which people will download under `name`. It is kept when the block ends well."""
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            self.check()
            self.result = files.save_result(self.job, File(file)), name
