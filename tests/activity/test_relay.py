"""The relay takes every event to the log once, in order, without a gap."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import psycopg
from django.db import transaction

from activity import log, outbox, segments, selectors, services
from activity import relay as relays
from activity.models import LogHead, OutboxEvent
from activity.relay import Relayed, relay
from activity.search import Query
from tenants import context
from tenants.refs import CONTROL, TenantRef
from tests.activity.conftest import LastingTenant, faults, logged, report
from tests.activity.test_ingest import sent


def recorded_ids() -> list[str]:
    return [str(event_id) for event_id in OutboxEvent.objects.order_by("id").values_list("event_id", flat=True)]


def record(*numbers: int) -> None:
    with transaction.atomic():
        for number in numbers:
            outbox.record(report(number))


def pages_of(documents: list[dict[str, Any]]) -> list[int]:
    return [document["data"]["pages"] for document in documents]


def test_events_are_numbered_in_the_order_of_recording(tenant: TenantRef) -> None:
    record(*range(25))
    ids = recorded_ids()
    assert relay(tenant) == Relayed(25, 0)
    record(100)
    ids += recorded_ids()
    relay(tenant)
    assert faults(ids, logged(tenant)) == []
    assert not OutboxEvent.objects.exists()
    head = LogHead.objects.get()
    assert (head.seq, head.appended) == (26, 26)


def test_more_than_a_batch_is_relayed_at_once(tenant: TenantRef) -> None:
    services.events_ingest([sent(number) for number in range(1000)])
    services.events_ingest([sent(number) for number in range(1000, 1100)])
    ids = recorded_ids()
    assert relay(tenant) == Relayed(1100, 0)
    assert faults(ids, logged(tenant)) == []


def test_nothing_to_do_is_one_query(tenant: TenantRef, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert relay(tenant) == Relayed(0, 0)


def test_what_the_log_has_already_gets_no_number(tenant: TenantRef) -> None:
    record(1, 2, 3)
    relay(tenant)
    known = UUID(logged(tenant)[1]["id"])
    services.events_ingest([sent(50), sent(51, known), sent(52)])
    assert relay(tenant) == Relayed(2, 1)
    documents = logged(tenant)
    assert [document["seq"] for document in documents] == [1, 2, 3, 4, 5]
    assert [document["data"].get("number") for document in documents[3:]] == [50, 52]
    assert documents[1]["data"] == {"pages": 2}


def test_two_tenants_may_have_an_event_of_the_same_id(acme: TenantRef, globex: TenantRef) -> None:
    for ref, number in ((acme, 1), (globex, 2)):
        with context.use_tenant(ref):
            services.events_ingest([sent(number, UUID(int=99))])
            relay(ref)
    assert [document["data"]["number"] for ref in (acme, globex) for document in logged(ref)] == [1, 2]
    assert log.existing_ids(acme, [UUID(int=99), UUID(int=98)]) == {UUID(int=99)}


def test_control_has_a_log_of_its_own(acme: TenantRef) -> None:
    with context.use_control():
        record(7)
        relay(CONTROL)
        assert pages_of(selectors.event_page(CONTROL, Query(action="report.")).items) == [7]
    assert logged(acme) == []


def test_numbers_given_by_a_relay_that_died_are_kept(tenant: TenantRef) -> None:
    record(1, 2, 3)
    ids = recorded_ids()
    segments.open_segment(tenant)
    relays._number(tenant)  # and then it appended one, and died
    row = OutboxEvent.objects.order_by("seq")[0]
    log.append(tenant, [{**row.document, "seq": row.seq, "hash": row.hash}])
    record(4)
    ids += recorded_ids()[3:]
    assert relay(tenant) == Relayed(4, 0)
    assert faults(ids, logged(tenant)) == []


def test_an_event_that_commits_late_with_a_low_identity_is_not_skipped(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    opened, finish = threading.Event(), threading.Event()

    def late() -> None:
        with context.use_tenant(ref), transaction.atomic():
            outbox.record(report(1))
            opened.set()
            finish.wait(10)

    thread = threading.Thread(target=late)
    thread.start()
    assert opened.wait(10)
    with context.use_tenant(ref):
        record(2)
        relay(ref)
        finish.set()
        thread.join()
        assert [row.id for row in OutboxEvent.objects.all()] == [1]
        relay(ref)
        record(3)
        relay(ref)
    assert pages_of(logged(ref)) == [2, 1, 3]
    assert [document["seq"] for document in logged(ref)] == [1, 2, 3]


def test_relays_and_writers_at_once_lose_and_double_nothing(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    done = threading.Event()
    errors: list[BaseException] = []

    def write(start: int) -> None:
        with context.use_tenant(ref):
            for number in range(start, start + 60):
                record(number)

    def relay_on() -> None:
        try:
            with context.use_tenant(ref):
                while not done.is_set():
                    relay(ref)
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=[start]) for start in (0, 1000, 2000)]
    relays = [threading.Thread(target=relay_on) for _ in range(3)]
    for thread in [*writers, *relays]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in relays:
        thread.join()
    with context.use_tenant(ref):
        relay(ref)
    assert errors == []
    documents = logged(ref)
    assert [document["seq"] for document in documents] == list(range(1, 181))
    for start in (0, 1000, 2000):  # each writer's commits follow one another
        mine = [number for number in pages_of(documents) if start <= number < start + 60]
        assert mine == list(range(start, start + 60))


def test_a_relay_that_finds_another_one_appending_leaves_it_to_it(
    lasting_tenant: LastingTenant, primary_url: str
) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref), psycopg.connect(primary_url, dbname=ref.database) as other:
        record(1)
        other.execute("SELECT pg_advisory_xact_lock(7203101)")
        assert relay(ref) == Relayed(0, 0, emptied=False)
        other.rollback()
        assert relay(ref) == Relayed(1, 0)


def test_the_check_of_a_log_sees_each_fault() -> None:
    documents = [{"id": name, "seq": number} for number, name in enumerate("abc", start=1)]
    assert faults("abc", documents) == []
    assert faults("abcd", documents) == ["lost d"]
    assert faults("ab", documents) == ["invented c"]
    assert faults("acb", documents) == ["out of order"]
    assert faults("ab", [documents[0], documents[1], {"id": "b", "seq": 3}]) == ["doubled b"]
    assert faults("ac", [documents[0], documents[2]]) == ["the numbers have a gap"]
