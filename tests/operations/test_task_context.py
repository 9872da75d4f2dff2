"""The tenant goes with its tasks through chains, chords, retries, times to come and beat; without one they raise. A real worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import chain, chord
from django.conf import settings

from config.celery import app
from tenants.context import use_tenant
from tenants.errors import NoTenant
from tenants.refs import TenantRef
from tenants.testing import prepare_tenants
from tenants.valkey import redis_client
from tests.notes.tasks import note_spread, note_tell
from tests.operations.processes import Started, program
from tests.system import wait_for

pytestmark = pytest.mark.xdist_group("celery")

WORKER = ("celery", "-A", "config", "--quiet", "worker", "--concurrency", "1", "--hostname", "context@localhost")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Started]:
    """A worker with one child, and with results, which a chord counts by."""
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    folder = tmp_path_factory.mktemp("worker")
    with program(folder, *WORKER, process="worker", CELERY_RESULT_BACKEND=settings.CELERY_BROKER_URL) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def two_tenants(django_db_setup: None, django_db_blocker: Any) -> Iterator[list[TenantRef]]:
    """Two of them, taken in turn, so that the worker's process was in another one just before. They write nothing."""
    tenants = prepare_tenants()
    with django_db_blocker.unblock():
        yield [tenants["acme"], tenants["globex"]]


def told(answers: str, count: int) -> list[list[Any]]:
    """What the tasks told, once so many have."""
    wait_for(lambda: redis_client().llen(answers) >= count, timeout=30, what=f"{count} answers")
    return [json.loads(line) for line in redis_client().lrange(answers, 0, -1)]


def two_in_a_chain(answers: str) -> None:
    chain(note_tell.s(answers=answers, step="first"), note_tell.s(answers=answers, step="second")).apply_async()


def one_and_a_callback(answers: str) -> None:
    note_tell.apply_async(
        kwargs={"answers": answers, "step": "first"}, link=note_tell.s(answers=answers, step="second")
    )


def one_that_is_tried_again(answers: str) -> None:
    note_tell.delay(answers=answers, step="tried", again=True)


def one_tried_again_in_a_chain(answers: str) -> None:
    chain(
        note_tell.s(answers=answers, step="tried", again=True), note_tell.s(answers=answers, step="second")
    ).apply_async()


def one_for_later(answers: str) -> None:
    note_tell.apply_async(kwargs={"answers": answers, "step": "later"}, countdown=0.2)


def a_chord(answers: str) -> None:
    note_spread.delay(answers=answers)


WAYS: dict[Callable[[str], None], list[str]] = {
    two_in_a_chain: ["first", "second"],
    one_and_a_callback: ["first", "second"],
    one_that_is_tried_again: ["tried", "tried"],
    one_tried_again_in_a_chain: ["tried", "tried", "second"],
    one_for_later: ["later"],
    a_chord: ["part", "part", "body"],
}


@pytest.mark.parametrize("send", WAYS, ids=lambda send: send.__name__)
def test_the_tenant_goes_with_its_tasks(
    worker: Started, two_tenants: list[TenantRef], send: Callable[[str], None]
) -> None:
    asked = [(ref, uuid4().hex) for ref in (*two_tenants, *two_tenants)]
    for ref, answers in asked:
        with use_tenant(ref):
            send(answers)
    for ref, answers in asked:
        lines = told(answers, len(WAYS[send]))
        assert [step for step, *_ in lines] == WAYS[send]
        assert {(owner, database) for _, owner, database, _ in lines} == {(ref.id, ref.database)}


@pytest.mark.parametrize("send", WAYS, ids=lambda send: send.__name__)
def test_nobody_can_send_them(send: Callable[[str], None]) -> None:
    """Without a tenant it isn't even sent."""
    with pytest.raises(NoTenant):
        send(uuid4().hex)


def test_nobody_can_send_a_chord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.backend, "ensure_chords_allowed", lambda: None)
    with pytest.raises(NoTenant):
        chord([note_tell.s(answers="none", step="part")])(note_tell.s(answers="none", step="body"))


@pytest.mark.parametrize("options", [{}, {"countdown": 0.1}, {"chain": "second"}, {"retries": 1}], ids=str)
def test_a_message_without_a_tenant_runs_nothing(
    worker: Started, two_tenants: list[TenantRef], options: dict[str, Any]
) -> None:
    """As another program would send it: the worker raises, and whatever should follow it is not sent."""
    answers = uuid4().hex
    if "chain" in options:
        options = {"chain": [dict(note_tell.s(answers=answers, step="second"))]}
    sent = app.send_task("notes.tell", kwargs={"answers": answers, "step": "first"}, **options)
    line = worker.wait_for_line(event="task_failed", task_id=sent.id)
    assert "needs a tenant" in line["error"]
    sentinel = uuid4().hex
    with use_tenant(two_tenants[0]):
        note_tell.delay(answers=sentinel, step="behind it")
    told(sentinel, 1)
    assert redis_client().llen(answers) == 0


def test_beat_sends_what_a_tenant_has_and_nothing_of_nobody(
    worker: Started, two_tenants: list[TenantRef], start_program: Callable[..., Started], tmp_path: Path
) -> None:
    owner, answers = two_tenants[1], uuid4().hex
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.operations.settings_tenants_beat",
        "ANSWERS": answers,
        "OWNER": owner.id,
    }
    command = ("celery", "-A", "config", "--quiet", "beat", "--schedule", f"{tmp_path}/due")
    beat = start_program(*command, process="beat", **variables)
    lines = told(answers, 2)
    assert {tuple(line[:3]) for line in lines} == {("beat", owner.id, owner.database)}
    wait_for(lambda: "needs a tenant" in beat.log.read_text(), what="what beat says of the other")


def backends(two_tenants: list[TenantRef]) -> dict[str, set[int]]:
    """The server processes that served twenty tasks of each of two tenants, in turn."""
    asked = [(ref, uuid4().hex) for _ in range(20) for ref in two_tenants]
    found: dict[str, set[int]] = {ref.id: set() for ref in two_tenants}
    for ref, answers in asked:
        with use_tenant(ref):
            note_tell.delay(answers=answers, step="connection")
    for ref, answers in asked:
        found[ref.id].add(told(answers, 1)[0][3])
    return found


def test_a_process_keeps_its_connections_between_tasks(worker: Started, two_tenants: list[TenantRef]) -> None:
    """One for each of the tenants that take turns in it: their number is what the pool's budget bounds (tests/tenants/test_pool.py)."""
    assert [len(pids) for pids in backends(two_tenants).values()] == [1, 1]


def test_control_a_forgetful_worker_keeps_neither_tenant_nor_connections(
    django_db_setup: None, two_tenants: list[TenantRef], start_program: Callable[..., Started], worker: Started
) -> None:
    """The control of the chains and the connections above. A chain never goes on in a wrong tenant: it doesn't go on at all."""
    worker.terminate()  # the last test of this file
    other = start_program("celery", "-A", "tests.operations.forgetful", *WORKER[3:], process="worker")
    other.wait_until_ready()
    answers = uuid4().hex
    with use_tenant(two_tenants[0]):
        two_in_a_chain(answers)
    assert [step for step, *_ in told(answers, 1)] == ["first"]
    wait_for(lambda: "needs a tenant" in other.log.read_text(), what="what the worker says")
    assert redis_client().llen(answers) == 1
    assert all(len(pids) > 15 for pids in backends(two_tenants).values())
