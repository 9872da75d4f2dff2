"""Workers are killed again and again while many jobs run: none is lost, what they do is there exactly once (scenario 5).

100 jobs and 2 kills here; `make scenarios` has 20,000 and 100, with the lease and the sweep that production has. The ledger is what
was asked for against what is in the tenant's database. In the controls nobody sweeps, or checkpoints are forgotten.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from activity.jobs.models import Job, JobLine
from activity.jobs.services import call_workers, job_start
from activity.jobs.tasks import sweep
from tenants.context import use_control
from tenants.models import JobTurn
from tenants.refs import TenantRef
from tests.faults.mid_job import events_of, worker
from tests.notes.models import Note
from tests.operations.processes import Started
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")

STEPS = 2
RECOVERED_WITHIN = 60.0  # seconds
Held = tuple[Any, int]  # a job and its attempt
Victim = tuple[Any, int, datetime]  # a job, its attempt, and when that was killed


class Workers:
    """Two workers that may be killed, and what beat does."""

    def __init__(self, folder: Path, application: str, *, lease: int, sweep_every: float | None) -> None:
        self._folder, self._application, self._lease = folder, application, lease
        self._sweep_every, self._swept_at = sweep_every, time.monotonic()
        self._count = 0
        self.stacks = [ExitStack(), ExitStack()]
        self.running = [self._start(stack) for stack in self.stacks]

    def _start(self, stack: ExitStack) -> Started:
        self._count += 1
        folder = self._folder / f"worker{self._count}"
        return stack.enter_context(worker(folder, self._application, processes=3, lease=self._lease, at_once=8))

    def sweep(self) -> None:
        """Sweep if it is time to."""
        if self._sweep_every is not None and time.monotonic() - self._swept_at > self._sweep_every:
            self._swept_at = time.monotonic()
            with use_control():
                sweep()

    def kill(self, number: int, *, whole: bool) -> list[Victim]:
        """Kill a worker with all its processes, or those of its processes that have a job; the attempts that were hit.

        It is this worker, or the other one when this one has nothing to do: both take what there is.
        """

        def stopped() -> tuple[int, dict[Held, int]] | None:
            for each in (number, 1 - number):
                if holders := self._stopped_at_work(self.running[each]):
                    return each, holders
            return None

        number, holders = wait_for(stopped, timeout=30, interval=0.05, what="a worker has a job with no effect yet")
        started = self.running[number]
        main = psutil.Process(started.popen.pid)
        killed_at = datetime.now(UTC)
        if whole:
            for process in [*main.children(), main]:
                process.kill()
            started.popen.wait()
            self.stacks[number].close()
            self.running[number] = self._start(self.stacks[number])
        else:
            for pid in set(holders.values()):
                psutil.Process(pid).kill()
            self._resume(main)
        return [(job_id, attempt, killed_at) for job_id, attempt in holders]

    def _stopped_at_work(self, started: Started) -> dict[Held, int]:
        """Stop a worker's processes, and say which of them has which job; unless one of the jobs has no effect yet, let them go on.

        A kill that hits nobody's work, or only jobs whose effects are all there, would prove nothing.
        """
        main = psutil.Process(started.popen.pid)
        for process in [main, *main.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        holders = self._holders(started)
        if any(has_no_effect(job_id) for job_id, _ in holders):
            return holders
        self._resume(main)
        return {}

    def _resume(self, main: psutil.Process) -> None:
        for process in [*main.children(), main]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _holders(self, started: Started) -> dict[Held, int]:
        """The process that has each running job, by the job and its attempt; not those that were killed before."""
        alive = {child.pid for child in psutil.Process(started.popen.pid).children()}
        running = set(Job.objects.filter(state="running").values_list("id", "attempt"))
        claims = {(line["job"], line["attempt"]): line["pid"] for line in started.lines("job_claimed")}
        holders = {(job_id, attempt): claims.get((str(job_id), attempt)) for job_id, attempt in running}
        return {held: pid for held, pid in holders.items() if pid in alive}

    def stop(self) -> None:
        for stack in self.stacks:
            stack.close()


def has_no_effect(job_id: Any) -> bool:
    """Not one of its steps is committed, so that a COMMIT which a stopped process had just sent doesn't make them all."""
    return not Note.objects.filter(title=Job.objects.get(pk=job_id).params["title"]).exists()


def finished() -> int:
    return Job.objects.filter(finished_at__isnull=False).count()


def run(
    folder: Path,
    application: str,
    *,
    count: int,
    kills: int,
    pause: float,
    lease: int = 2,
    sweep_every: float | None = 1.0,
) -> list[Victim]:
    """Start so many jobs and make so many kills while they run, evenly; the attempts that were hit.

    No job begins until both workers are there: else a few jobs have ended before the second one is.
    `pause`: seconds in each of a job's steps. It ends when all jobs have, or when nothing new has come for 3 s (120 with a sweep).
    """
    for number in range(count):
        job_start(kind="notes.write", params={"title": f"kills-{number}", "count": STEPS, "pause": pause})
    victims: list[Victim] = []
    with use_control():
        JobTurn.objects.update(is_paused=True)
    workers = Workers(folder, application, lease=lease, sweep_every=sweep_every)
    with use_control():
        JobTurn.objects.update(is_paused=False)
    call_workers()
    try:
        for number in range(kills):
            goal = count * (number + 1) // (kills + 2)
            wait_for(
                lambda goal=goal: workers.sweep() or finished() >= goal, timeout=600, what=f"{goal} jobs have ended"
            )
            victims += workers.kill(number % 2, whole=number % 3 == 1)
        seen, at = finished(), time.monotonic()
        while seen < count and time.monotonic() - at < (3 if sweep_every is None else 120):
            workers.sweep()
            time.sleep(0.2)
            if (now := finished()) != seen:
                seen, at = now, time.monotonic()
    finally:
        workers.stop()
    return victims


def ledger() -> Counter[tuple[str, str]]:
    return Counter(Note.objects.filter(title__startswith="kills-").values_list("title", "body"))


def asked_for(count: int) -> Counter[tuple[str, str]]:
    return Counter((f"kills-{number}", str(step)) for number in range(count) for step in range(STEPS))


def recovered_after(victim: Victim) -> float:
    """How long it took until another attempt began, in seconds."""
    job_id, attempt, killed_at = victim
    begins = JobLine.objects.get(job_id=job_id, sentence__startswith=f"Attempt {attempt + 1} began")
    return (begins.at - killed_at).total_seconds()


@pytest.mark.parametrize(
    ("count", "kills", "pause", "lease", "sweep_every"),
    [(100, 2, 0.05, 2, 1.0), pytest.param(20_000, 100, 0.03, 15, 5.0, marks=pytest.mark.scenario)],
)
def test_no_job_is_lost_and_each_effect_is_there_once(
    acme_entered: TenantRef, tmp_path: Path, count: int, kills: int, pause: float, lease: int, sweep_every: float
) -> None:
    began_at = time.monotonic()
    victims = run(tmp_path, "config", count=count, kills=kills, pause=pause, lease=lease, sweep_every=sweep_every)
    assert Counter(Job.objects.values_list("state", flat=True)) == {"succeeded": count}
    assert ledger() == asked_for(count)
    assert len(victims) >= kills, "the kills hit too few jobs to prove anything"
    recovered = sorted(recovered_after(victim) for victim in victims)
    print(
        f"\n{count} jobs, {kills} kills, {len(victims)} attempts killed: 0 lost, each effect once; "
        f"recovered after {recovered[len(recovered) // 2]:.1f} s (median), {recovered[-1]:.1f} s at most; "
        f"{time.monotonic() - began_at:.0f} s in all"
    )
    assert recovered[-1] <= RECOVERED_WITHIN
    for job_id in {victim[0] for victim in victims[:20]}:
        assert events_of(Job.objects.get(pk=job_id), "job.succeeded") == 1


@pytest.mark.parametrize("count", [40, pytest.param(600, marks=pytest.mark.scenario)])
def test_without_the_sweep_jobs_are_lost(acme_entered: TenantRef, tmp_path: Path, count: int) -> None:
    """The control of the test above: what the killed ones had is never done."""
    victims = run(tmp_path, "config", count=count, kills=1, pause=0.1, sweep_every=None)
    assert victims
    lost = Job.objects.exclude(state="succeeded").values_list("id", flat=True)
    assert {victim[0] for victim in victims} <= set(lost)
    assert ledger() != asked_for(count)


@pytest.mark.scenario
def test_without_checkpoints_the_ledger_finds_effects_twice(acme_entered: TenantRef, tmp_path: Path) -> None:
    """The other control: a step that had committed is done again."""
    run(tmp_path, "tests.faults.without_checkpoint", count=600, kills=20, pause=0.1)
    assert Counter(Job.objects.values_list("state", flat=True)) == {"succeeded": 600}
    twice = [note for note, times in ledger().items() if times > 1]
    assert twice
