"""Whose job is next: each tenant in its turn, however many jobs another one has waiting."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from accounts.models import User
from activity.jobs import slots, summaries, tasks, turns
from activity.jobs.errors import HandedBack
from activity.jobs.models import Job
from activity.jobs.run import Run
from activity.jobs.runner import run_job, run_turns
from activity.jobs.services import job_start
from activity.jobs.turns import Taken
from tenants.context import use_control, use_tenant
from tenants.ids import new_id
from tenants.models import JobPause, JobSummary, JobTurn, Server, Tenant
from tenants.refs import CONTROL, ControlRef, TenantRef
from tests.accounts.conftest import ApiOf
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture
from tests.jobs.test_slots import holder, no_worker_after  # noqa: F401  a fixture


@pytest.fixture
def nobody_waits(tenants: dict[str, TenantRef]) -> Iterator[None]:
    """Control without what tests that commit have left there; it comes back with the test's transaction."""
    with use_control():
        JobSummary.objects.all().delete()
        JobTurn.objects.all().delete()
        yield


def tenant_of(plan: str = "business", state: str = "active") -> Tenant:
    """A tenant that is only an entry in control."""
    key = new_id()
    tenant = Tenant(
        id=key, slug=f"t{key.hex[-12:]}", name="", plan=plan, state=state, server=Server.objects.all()[0],
        database=f"d{key.hex}", role="",
    )  # fmt: skip
    tenant.set_password("unused")
    tenant.save(force_insert=True)
    return tenant


def queue(tenant: Tenant | None, count: int = 1, *, priority: int = 0, kind: str = "tests.none") -> list[UUID]:
    """Jobs of a tenant (or of control) that wait."""
    ref: Any = CONTROL if tenant is None else tenant.ref()
    made = []
    for _ in range(count):
        job_id = new_id()
        summaries.announce(ref, job_id, kind, priority=priority)
        summaries.enqueue(ref, job_id)
        made.append(job_id)
    return made


def ended(taken: Taken) -> None:
    """What the worker that ran it tells."""
    JobSummary.objects.filter(pk=taken.job_id).update(state="succeeded", finished_at=Now())
    turns.make_room(None if taken.owner == CONTROL.id else taken.owner)


def order(count: int) -> list[str]:
    """Whose jobs run, by one worker that runs so many."""
    owners = []
    for _ in range(count):
        taken = turns.take()
        if taken is None:
            break
        ended(taken)
        owners.append(taken.owner)
    return owners


def test_who_has_few_jobs_waits_for_few(nobody_waits: None) -> None:
    many, few = tenant_of(), tenant_of()
    queue(many, 50)
    assert set(order(10)) == {str(many.id)}
    queue(few, 3)
    assert order(6).count(str(few.id)) == 3
    assert set(order(60)) == {str(many.id)}


def test_control_first_in_first_out_lets_them_wait(nobody_waits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: without turns, the oldest job is next."""
    many, few = tenant_of(), tenant_of()
    queue(many, 50)
    order(10)
    queue(few, 3)
    monkeypatch.setattr(turns, "_TAKE", turns._TAKE.replace("1.0 / %(weight)s", "0.0 * %(weight)s"))
    JobTurn.objects.filter(tenant=few).update(turn=1000.0)
    assert str(few.id) not in order(6)


def test_plans_have_their_shares(nobody_waits: None, settings: Any) -> None:
    settings.JOB_WEIGHTS = {"free": 1, "team": 2, "business": 4}
    owners = {str(tenant_of(plan).id): plan for plan in ("free", "team", "business")}
    for tenant in Tenant.objects.filter(pk__in=owners):
        queue(tenant, 60)
    assert Counter(owners[owner] for owner in order(70)) == {"free": 10, "team": 20, "business": 40}


def test_nobody_saves_up_turns(nobody_waits: None) -> None:
    """Who did nothing for long, or for the first time has jobs, begins where the others are."""
    early, late = tenant_of(), tenant_of()
    queue(late)
    order(1)
    queue(early, 40)
    order(30)
    queue(late, 40)
    assert abs(Counter(order(10))[str(late.id)] - 5) <= 1
    order(1000)
    queue(early, 20)  # nobody waits now
    queue(late, 20)
    assert abs(Counter(order(10))[str(early.id)] - 5) <= 1


def test_a_tenant_has_as_many_running_as_its_plan_allows(nobody_waits: None, settings: Any) -> None:
    settings.JOBS_AT_ONCE = {"free": 2}
    capped, other = tenant_of("free"), tenant_of("team")
    queue(capped, 5)
    running = [turns.take(), turns.take()]
    assert {taken.owner for taken in running if taken} == {str(capped.id)}
    assert turns.take() is None
    assert not turns.is_anybody_waiting()
    queue(other)
    assert order(5) == [str(other.id)]
    assert running[0] is not None
    ended(running[0])
    assert turns.is_anybody_waiting()
    following = turns.take()
    assert following is not None
    assert following.owner == str(capped.id)
    assert turns.take() is None


def test_a_place_that_nobody_gave_back_is_found_by_the_sweep(nobody_waits: None, settings: Any) -> None:
    settings.JOBS_AT_ONCE = {"free": 1}
    capped = tenant_of("free")
    first, _ = queue(capped, 2)
    assert turns.take() == Taken(first, str(capped.id))
    assert turns.take() is None
    JobSummary.objects.filter(pk=first).update(state="succeeded", finished_at=Now())  # and its worker died
    assert turns.take() is None
    turns.repair()
    assert order(5) == [str(capped.id)]


def test_higher_priorities_come_first_within_a_tenant_alone(nobody_waits: None) -> None:
    tenant, other = tenant_of(), tenant_of()
    low, plain, high = (queue(tenant, priority=priority)[0] for priority in (-1, 0, 5))
    (theirs,) = queue(other, priority=-10)
    taken = [turns.take() for _ in range(4)]
    assert [found.job_id for found in taken if found and found.owner == str(tenant.id)] == [high, plain, low]
    assert theirs in [found.job_id for found in taken[:2] if found]


@pytest.mark.parametrize("priority", [-11, 11])
def test_a_priority_has_bounds(tenant: TenantRef, priority: int) -> None:
    with pytest.raises(ValueError, match="from -10 to 10"):
        job_start(kind="members.export", priority=priority)


def test_paused_tenants_and_kinds_wait(nobody_waits: None) -> None:
    paused, other = tenant_of(), tenant_of()
    queue(paused, 2)
    queue(other, kind="tests.paused")
    JobTurn.objects.filter(tenant=paused).update(is_paused=True)
    pause = JobPause.objects.create(kind="tests.paused")
    assert turns.take() is None
    turns.repair()
    assert turns.take() is None
    pause.delete()
    turns.repair()
    assert order(5) == [str(other.id)]
    JobTurn.objects.filter(tenant=paused).update(is_paused=False)
    assert order(5) == [str(paused.id)] * 2


def test_jobs_of_a_suspended_tenant_wait_until_it_is_served(nobody_waits: None) -> None:
    tenant = tenant_of(state="suspended")
    queue(tenant)
    assert turns.take() is None
    turns.repair()
    assert turns.take() is None
    Tenant.objects.filter(pk=tenant.pk).update(state="active")
    turns.repair()
    assert order(5) == [str(tenant.id)]


def test_what_was_announced_has_no_turn_before_it_is_there(nobody_waits: None) -> None:
    tenant = tenant_of()
    queue(tenant)
    announced = new_id()
    summaries.announce(tenant.ref(), announced, "tests.none")
    assert len(order(5)) == 1
    turns.repair()
    assert turns.take() is None  # its transaction may be open
    JobSummary.objects.filter(pk=announced).update(due_at=Now() - timedelta(seconds=1))
    turns.repair()  # control was away when it should have been queued
    assert turns.take() == Taken(announced, str(tenant.id))


def test_a_job_that_never_came_to_be_takes_no_place(tenant: TenantRef, settings: Any) -> None:
    settings.JOBS_AT_ONCE = {tenant.plan: 1}
    job_id = new_id()
    summaries.announce(tenant, job_id, "tests.none")
    JobSummary.objects.filter(pk=job_id).update(state="running")
    assert run_job(job_id) is None
    assert JobSummary.objects.get(pk=job_id).state == "queued"


def test_a_worker_runs_what_waits_in_turns_and_calls_others(
    acme: TenantRef, globex: TenantRef, nobody_waits: None, kinds: Kinds  # noqa: F811
) -> None:  # fmt: skip
    seen: list[str] = []
    called: list[int] = []

    def note(run: Any, params: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            seen.append(cursor.fetchone()[0])

    kind = kinds.add(note)
    jobs: list[tuple[TenantRef | ControlRef, Job]] = []
    for ref, count in ((acme, 4), (globex, 2), (CONTROL, 1)):
        with use_tenant(ref) if isinstance(ref, TenantRef) else use_control():
            for _ in range(count):
                job = job_start(kind=kind)
                jobs.append((ref, job))
                summaries.enqueue(ref, job.pk)  # once the test's transaction has committed, which it never does
    with use_control():
        assert run_turns(60.0, call_others=lambda: called.append(1)) == 7
    assert called == [1]
    assert Counter(seen[:4])[seen[-1]] <= 2  # acme's, of which some are left when the others have none
    for ref, job in jobs:
        with use_tenant(ref) if isinstance(ref, TenantRef) else use_control():
            assert Job.objects.get(pk=job.pk).state == "succeeded"


def test_a_worker_of_short_jobs_keeps_its_slot(
    acme: TenantRef, nobody_waits: None, kinds: Kinds, settings: Any, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    """They end before a heartbeat would stamp it, so that another process would run jobs beside them (the control)."""
    settings.JOB_LEASE = 1.2
    free: list[bool] = []

    def work(run: Any, params: Any) -> None:
        time.sleep(0.4)
        free.append(slots._take() is not None)

    kind = kinds.add(work)
    slots.limit(2)

    def run(count: int) -> list[bool]:
        free.clear()
        with use_tenant(acme):
            for _ in range(count):
                summaries.enqueue(acme, job_start(kind=kind).pk)
        with use_control():
            assert run_turns(60.0) == count
        return free

    assert run(4) == [False] * 4
    monkeypatch.setattr(slots, "stamp", lambda: None)
    assert any(run(4))


@pytest.mark.parametrize(("lease_until", "is_next"), [("2000-01-01T00:00:00Z", True), ("2100-01-01T00:00:00Z", False)])
def test_a_job_whose_worker_was_lost_has_its_turn_though_each_slot_is_taken(
    acme: TenantRef, nobody_waits: None, kinds: Kinds, lease_until: str, is_next: bool  # noqa: F811
) -> None:  # fmt: skip
    """The slots are those of workers that go from turn to turn. The control is a job that somebody still has."""
    kind = kinds.add(lambda run, params: None)
    slots.limit(2)
    with use_tenant(acme):
        lost, waiting = job_start(kind=kind), job_start(kind=kind)
        summaries.enqueue(acme, waiting.pk)
        Job.objects.filter(pk=lost.pk).update(state="running", lease_until=lease_until, attempt=1)
        summaries.tell(Job.objects.get(pk=lost.pk))
        with holder():
            assert run_job(lost.pk) is None
    with use_control():
        taken = turns.take()
    assert taken is not None
    assert taken.job_id == (lost.pk if is_next else waiting.pk)


@pytest.mark.parametrize("state", ["queued", "succeeded"])
def test_who_was_lost_before_the_claim_or_after_the_end_holds_no_place_though_each_slot_is_taken(
    acme: TenantRef, nobody_waits: None, kinds: Kinds, state: str  # noqa: F811
) -> None:  # fmt: skip
    slots.limit(2)
    with use_tenant(acme):
        job = job_start(kind=kinds.add(lambda run, params: None))
        Job.objects.filter(pk=job.pk).update(state=state)
        JobSummary.objects.filter(pk=job.pk).update(state="running", worker="one that was lost")
        with holder():
            assert run_job(job.pk) is None
    assert JobSummary.objects.get(pk=job.pk).state == state


@pytest.mark.parametrize(("again_in", "attempts"), [(10.0, 1), (0.0, 4)])
def test_a_job_that_can_not_go_on_now_lets_others_go_first(
    acme: TenantRef, nobody_waits: None, kinds: Kinds, again_in: float, attempts: int  # noqa: F811
) -> None:  # fmt: skip
    """The control is a worker that stops: the next one has the job at once."""

    def work(run: Run, params: Any) -> None:
        if run.job.attempt < 4:
            raise HandedBack(reason="not yet", again_in=again_in)

    with use_tenant(acme):
        job = job_start(kind=kinds.add(work))
        summaries.enqueue(acme, job.pk)
    with use_control():
        assert run_turns(60.0) == attempts
        assert not turns.is_anybody_waiting()
        JobSummary.objects.filter(pk=job.pk).update(due_at=Now())
        turns.repair()
        assert turns.is_anybody_waiting() == (attempts == 1)


def test_a_tenant_that_can_not_be_reached_holds_nobody_up(
    acme: TenantRef, nobody_waits: None, kinds: Kinds  # noqa: F811
) -> None:  # fmt: skip
    """Its database isn't there: one of its jobs is tried, and then it rests until the sweep asks for it again."""
    gone = tenant_of()
    theirs = queue(gone, 20)
    with use_tenant(acme):
        job = job_start(kind=kinds.add(lambda run, params: None))
        summaries.enqueue(acme, job.pk)
    with use_control():
        assert run_turns(60.0) == 2
        assert JobSummary.objects.filter(pk__in=theirs, state="queued").count() == 20
        assert not turns.is_anybody_waiting()
        turns.repair()
        assert turns.is_anybody_waiting()
    with use_tenant(acme):
        assert Job.objects.get(pk=job.pk).state == "succeeded"


def test_the_sweep_calls_a_worker_when_somebody_waits(nobody_waits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(tasks, "call_workers", lambda: called.append(1))
    tasks.sweep()
    assert called == []
    queue(tenant_of())
    JobTurn.objects.update(is_waiting=False)  # as if control had been away
    tasks.sweep()
    assert called == [1]


@pytest.mark.parametrize("waiting", [1, 300])
def test_a_turn_costs_as_many_statements_however_many_wait(nobody_waits: None, waiting: int) -> None:
    for _ in range(waiting):
        queue(tenant_of())
    with CaptureQueriesContext(connections[CONTROL.alias]) as queries:
        assert turns.take() is not None
    statements = [query["sql"] for query in queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    assert len(statements) == 2  # the tenant; its job


# --- Many workers at once --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[list[Tenant]]:
    """Tenants that other connections see too."""
    with django_db_blocker.unblock(), use_control():
        made = [tenant_of() for _ in range(5)]
    yield made
    with django_db_blocker.unblock(), use_control():
        Tenant.objects.filter(pk__in=[tenant.pk for tenant in made]).delete()


def test_no_job_is_forgotten_or_given_twice_by_many_workers(
    committed: list[Tenant], django_db_blocker: DjangoDbBlocker
) -> None:
    """Three threads queue jobs of five tenants while four take them: without any sweep, all are taken, each once."""
    made = committed
    owners = {str(tenant.id) for tenant in made}
    taken: list[UUID] = []
    queued: list[UUID] = []
    done = threading.Event()

    def produce(number: int) -> None:
        with django_db_blocker.unblock(), use_control():
            for step in range(20):
                queued.extend(queue(made[(number + step) % 5]))

    def consume() -> None:
        with django_db_blocker.unblock(), use_control():
            while True:
                was_done = done.is_set()
                found = turns.take()
                if found is not None and found.owner in owners:
                    taken.append(found.job_id)
                    ended(found)
                if found is None and was_done:
                    return

    producers = [threading.Thread(target=produce, args=[number]) for number in range(3)]
    consumers = [threading.Thread(target=consume) for _ in range(4)]
    for thread in (*producers, *consumers):
        thread.start()
    for thread in producers:
        thread.join(30)
    done.set()
    for thread in consumers:
        thread.join(30)
    assert not any(thread.is_alive() for thread in (*producers, *consumers))
    assert len(queued) == 60
    assert Counter(taken) == Counter(queued)


def test_the_api_takes_a_priority(api: ApiOf, owner: User) -> None:
    answer = api(owner).post("/jobs", {"kind": "members.export", "priority": 5})
    with use_control():
        assert JobSummary.objects.get(pk=answer.json()["id"]).priority == 5
    assert api(owner).post("/jobs", {"kind": "members.export", "priority": 11}).status_code == 422
