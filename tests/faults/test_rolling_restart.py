"""`web` is restarted, one after the other, under 50 requests a second: a proxy that repeats what was refused sees no failure.

The control kills in the place of stopping: then requests in flight are cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from accounts.models import User
from accounts.services.tokens import token_create
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.operations.processes import FrontEnd, free_port, program
from tests.tenants.conftest import primary_url

pytestmark = pytest.mark.xdist_group("celery")

RATE = 50  # requests a second
NAME = "rolling"


class Proxy:
    """Passes each connection on to the next of two servers, and to the other one when it is refused, as a proxy does."""

    def __init__(self, ports: list[int]) -> None:
        self.turns = itertools.cycle([ports, ports[::-1]])
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for port in next(self.turns):
                try:
                    upstream = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    continue
                await asyncio.gather(self._pass(reader, upstream[1]), self._pass(upstream[0], writer))
                break
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@contextmanager
def web(folder: Path, port: int) -> Iterator[FrontEnd]:
    """A `web` on a port of ours."""
    folder.mkdir(exist_ok=True)
    command = ("gunicorn", "-c", "config/gunicorn_conf.py")
    with program(folder, *command, process="web", BIND=f"127.0.0.1:{port}", WEB_CONCURRENCY="1") as started:
        front = FrontEnd(started, f"http://127.0.0.1:{port}")
        front.wait_until_up()
        yield front


@pytest.fixture
def token(committed_tenant: TenantRef, django_db_blocker: Any) -> Iterator[str]:
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        user = User.objects.create_user(f"{NAME}@acme.example", role="owner")
        yield token_create(user=user, name=NAME)[1]
        User.objects.filter(pk=user.pk).delete()


def restart_under_load(folder: Path, token: str, sent: signal.Signals) -> tuple[list[int], list[str], list[float]]:
    """Statuses, failures, and the seconds that each `web` took to end."""
    statuses: list[int] = []
    failures: list[str] = []
    ended = threading.Event()
    ports = [free_port(), free_port()]

    def ask(proxy: Proxy) -> None:
        headers = {"Host": "acme.localhost", "Authorization": f"Bearer {token}", "Connection": "close"}
        while not ended.is_set():
            began = time.monotonic()
            try:
                statuses.append(
                    httpx.get(f"http://127.0.0.1:{proxy.port}/api/v1/members", headers=headers, timeout=20).status_code
                )
            except httpx.HTTPError as error:
                failures.append(repr(error))
            time.sleep(max(0.0, 5 / RATE - (time.monotonic() - began)))

    took = []
    with ExitStack() as stack:
        fronts = [stack.enter_context(web(folder / str(port), port)) for port in ports]
        proxy = stack.enter_context(Proxy(ports))
        threads = [threading.Thread(target=ask, args=(proxy,), daemon=True) for _ in range(5)]
        for thread in threads:
            thread.start()
        for front, port in zip(fronts, ports, strict=True):
            time.sleep(1.5)
            began = time.monotonic()
            if sent == signal.SIGKILL:
                for child in children(front.started.popen.pid):
                    child.kill()
            front.started.popen.send_signal(sent)
            front.started.popen.wait(40)
            took.append(time.monotonic() - began)
            stack.enter_context(web(folder / str(port), port))
        time.sleep(1)
        ended.set()
        for thread in threads:
            thread.join()
    return statuses, failures, took


def children(pid: int) -> list[Any]:
    import psutil

    return psutil.Process(pid).children()


def backends() -> int:
    with psycopg.connect(primary_url(), autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tenantry-web acme%'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_no_request_fails_while_web_is_restarted_one_after_the_other(
    collected_static_for_faults: None, token: str, tmp_path: Path
) -> None:
    statuses, failures, took = restart_under_load(tmp_path, token, signal.SIGTERM)
    print(f"{len(statuses)} answers, {len(failures)} failures, ended in {[f'{seconds:.1f} s' for seconds in took]}")
    assert len(statuses) > 100
    assert failures == []
    assert set(statuses) == {200}
    assert max(took) < 30
    deadline = time.monotonic() + 5
    while backends() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert backends() == 0


def test_a_kill_in_its_place_cuts_requests(collected_static_for_faults: None, token: str, tmp_path: Path) -> None:
    """The control of the test above. A kill may by chance hit no request; three times in a row it doesn't."""
    folders = [tmp_path / str(turn) for turn in range(3)]
    for folder in folders:
        folder.mkdir()
    assert any(restart_under_load(folder, token, signal.SIGKILL)[1] for folder in folders)
