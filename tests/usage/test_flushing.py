"""Processes that count, with a control database that goes away and comes back: real faults, and the sum is exact."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from accounts.models import User
from accounts.roles import Role
from accounts.services.tokens import token_create
from activity.jobs.services import job_start
from tenants.context import use_control, use_tenant
from tenants.models import UsageDay
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant
from tests.operations.conftest import Start, collected_static, start  # noqa: F401  fixtures
from tests.operations.processes import ROOT, program
from tests.proxy import Proxy
from tests.usage.conftest import control_url

Counter = subprocess.Popen[bytes]
StartCounter = Callable[..., Counter]


@pytest.fixture
def fresh_limits() -> None:
    """Not needed here, and its tenants would be in a transaction."""


@pytest.fixture
def no_files_left() -> None:
    """Nor this."""


@pytest.fixture
def start_counter() -> Iterator[StartCounter]:
    processes: list[Counter] = []

    def start_one(ref: TenantRef, path: Path, *, control: str, seconds: float) -> Counter:
        command = [sys.executable, "-m", "tests.usage.counting_process", ref.id, str(path), str(seconds)]
        variables = {"CONTROL_DATABASE_URL": control, "TENANTRY_PROCESS": "worker"}
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables})
        processes.append(process)
        wait_for(lambda: counted(path) > 0, process)
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.wait(20)


def wait_for(done: Callable[[], bool], process: Counter | None = None, timeout: float = 40.0) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert process is None or process.poll() is None, "it ended"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def counted(path: Path) -> int:
    """The last number that a process has written."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return max((int(line) for line in lines if line != "ended"), default=0)


def has_ended(path: Path) -> bool:
    return path.read_text().endswith("ended\n")


def kept(ref: TenantRef) -> tuple[int, float]:
    with use_control():
        rows = list(UsageDay.objects.filter(tenant_id=ref.id))
    return sum(row.requests for row in rows), sum(row.job_seconds for row in rows)


def test_two_processes_and_a_control_that_goes_away_lose_and_double_nothing(
    lasting_tenant: LastingTenant, tmp_path: Path, start_counter: StartCounter
) -> None:
    ref = lasting_tenant()
    paths = [tmp_path / "one", tmp_path / "two"]
    with Proxy(control_url()) as proxy:
        processes = [start_counter(ref, path, control=proxy.url, seconds=0.02) for path in paths]
        for _ in range(40):  # cut at any moment, also between a commit and its answer
            time.sleep(random.uniform(0.01, 0.1))
            proxy.cut()
        proxy.swallow()
        proxy.cut()
        time.sleep(1)  # what had reached the server is done by then
        before, at = kept(ref)[0], [counted(path) for path in paths]
        time.sleep(3)
        assert kept(ref)[0] == before
        assert all(counted(path) > former + 100 for path, former in zip(paths, at, strict=True))  # nobody waits
        proxy.release()
        wait_for(lambda: kept(ref)[0] > before + 100)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(40) for process in processes] == [0, 0]
    assert all(has_ended(path) for path in paths)
    total = sum(counted(path) for path in paths)
    assert kept(ref) == (total, total * 0.5)


def test_a_process_that_ends_while_control_is_away_keeps_what_it_counted_if_that_comes_back(
    lasting_tenant: LastingTenant, tmp_path: Path, start_counter: StartCounter
) -> None:
    """One try at the end would come too early: while control is away, and for seconds after, it is refused."""
    ref, path = lasting_tenant(), tmp_path / "one"
    with Proxy(control_url()) as proxy:
        process = start_counter(ref, path, control=proxy.url, seconds=0.02)
        wait_for(lambda: kept(ref)[0] > 0, process)
        proxy.swallow()
        proxy.cut()
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        time.sleep(6)  # longer than one try lasts
        proxy.release()
        assert process.wait(40) == 0
    assert has_ended(path)
    assert kept(ref)[0] == counted(path)


def test_a_killed_process_loses_what_it_counted_since_its_last_flush_at_most(
    lasting_tenant: LastingTenant, tmp_path: Path, start_counter: StartCounter
) -> None:
    ref, path = lasting_tenant(), tmp_path / "one"
    process = start_counter(ref, path, control=control_url(), seconds=1.0)
    wait_for(lambda: kept(ref)[0] > 0, process)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert not has_ended(path)
    lost = counted(path) - kept(ref)[0]
    assert 0 < lost < 1_500  # it counts less than a thousand times a second


@pytest.mark.parametrize("kind", ["web", "stream"])
def test_a_front_end_flushes_before_it_ends(
    kind: str,
    lasting_tenant: LastingTenant,
    start: Start,  # noqa: F811
    quick_passwords: None,
) -> None:
    ref = lasting_tenant()
    with use_tenant(ref):
        person = User.objects.create_user(f"olga@{ref.slug}.example", None, role=Role.OWNER)
        secret = token_create(user=person, name="test")[1]
    front = start(kind, WEB_CONCURRENCY="1")
    headers = {"Authorization": f"Bearer {secret}"}
    paths = ["/api/v1/me"] * 5 + ["/api/v1/members.csv"]  # the last one is native in `stream`
    for path in paths:
        assert front.get(path, host=f"{ref.slug}.localhost", **headers).status_code == 200
    # One that `stream` hands on to Django, which tells what is wrong with it.
    assert front.get("/api/v1/members?limit=501", host=f"{ref.slug}.localhost", **headers).status_code == 422
    front.started.terminate()
    assert kept(ref)[0] == len(paths) + 1


def test_a_worker_counts_its_jobs_and_flushes_before_it_ends(lasting_tenant: LastingTenant, tmp_path: Path) -> None:
    ref = lasting_tenant()
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    worker = ("celery", "-A", "config", "--quiet", "worker", "--concurrency", "2")
    with program(tmp_path, *worker, process="worker") as started:
        started.wait_until_ready()
        with use_tenant(ref):
            job = job_start(kind="members.export")
        started.wait_for_line(timeout=60, event="job_ended", job=str(job.pk))
        started.terminate()
    requests, seconds = kept(ref)
    assert requests == 0
    assert 0 < seconds < 30
