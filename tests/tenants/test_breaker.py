"""A Postgres that doesn't answer is known as such: nobody waits for it, and one caller at a time tries."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection

from tenants.context import use_tenant
from tenants.db import breaker
from tenants.db.breaker import Breaker, breaker_of, is_unreachable
from tenants.db.pools import Endpoint
from tenants.db.routes import PrimaryRoute
from tenants.errors import EndpointDown
from tenants.refs import TenantRef
from tests.tenants.conftest import primary_url


@pytest.fixture
def nobody() -> Iterator[Endpoint]:
    """An address that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = Endpoint("nobody", "127.0.0.1", taken.getsockname()[1])
        yield endpoint
    breaker._breakers.pop(endpoint.key, None)


def route_to(endpoint: Endpoint) -> PrimaryRoute:
    return PrimaryRoute(endpoint, alias="t:1:1", connect_kwargs={"dbname": "x"}, renew=lambda: None)


def test_it_opens_after_three_failures_and_refuses_without_asking() -> None:
    tested = Breaker("eu1")
    for _ in range(2):
        tested.failed()
        tested.check()
    tested.failed()
    with pytest.raises(EndpointDown) as refused:
        tested.check()
    assert refused.value.retry_after > 0


def test_one_caller_at_a_time_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = Breaker("eu1")
    tested.failed(at_once=True)
    now = time.monotonic() + breaker.RETRY_AFTER
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tested.check()  # this one's turn
    for _ in range(5):
        with pytest.raises(EndpointDown):
            tested.check()
    tested.succeeded()
    tested.check()
    assert not tested.is_open


def test_a_dead_endpoint_is_tried_with_pauses_and_then_no_more(nobody: Endpoint) -> None:
    route = route_to(nobody)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        route.connect()
    assert breaker_of(nobody).is_open
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(EndpointDown):
            route.connect()
    print(f"{(time.monotonic() - started) * 10_000:.1f} us for each refusal")


def test_without_the_breaker_each_caller_asks_the_dead_endpoint(
    nobody: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(Breaker, "check", lambda self: None)
    route = route_to(nobody)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match="refused"):
            route.connect()


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"dbname": "nowhere"}, {"options": "-c no_such_setting=1"}])
def test_an_answer_is_no_failure_of_the_endpoint(wrong: dict[str, str]) -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(primary_url(), **wrong)  # type: ignore[arg-type]
    assert not is_unreachable(refused.value)


def test_a_read_on_a_connection_that_died_is_repeated(
    committed_tenant: TenantRef, django_db_blocker: Any, observer: Any
) -> None:
    """The first statement on a borrowed connection, and one that only reads; a later one fails."""
    from taggit.models import Tag

    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        for used in (False, True):
            connection.ensure_connection()
            if used:
                Tag.objects.count()
            observer.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
            time.sleep(0.1)
            if used:
                with pytest.raises(OperationalError):
                    Tag.objects.count()
                assert Tag.objects.count() == 0  # on a new connection
            else:
                assert Tag.objects.count() == 0
                connection.close()


def test_a_write_or_a_lock_on_a_connection_that_died_is_not_repeated(
    committed_tenant: TenantRef, django_db_blocker: Any, observer: Any
) -> None:
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        for statement in (
            "CREATE TEMPORARY TABLE t ()",
            "SELECT pg_advisory_lock(1)",
            'SELECT "taggit_tag"."id" FROM "taggit_tag" FOR UPDATE',
        ):
            connection.ensure_connection()
            observer.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
            time.sleep(0.1)
            with pytest.raises(OperationalError), connection.cursor() as cursor:
                cursor.execute(statement)
