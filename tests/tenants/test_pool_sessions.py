"""What one borrower does to its session is gone for the next; and who leaves nothing behind pays nothing (scenario 21)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection as django_connection
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from accounts.models import User
from tenants.context import use_tenant
from tenants.db.connection import Connection
from tenants.db.pool import ServerPool
from tenants.db.statements import is_plain
from tenants.refs import TenantRef
from tests.proxy import Proxy
from tests.tenants.conftest import DatabaseRoute, primary_url

MakePool = Callable[..., ServerPool]

# Everything that a session remembers, as one row.
PROBE = """
    SELECT current_user, session_user, current_setting('search_path'), current_setting('statement_timeout'),
           current_setting('lock_timeout'), current_setting('TimeZone'), nullif(current_setting('app.user', true), ''),
           (SELECT count(*) FROM pg_class WHERE relpersistence = 't'),
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
           (SELECT count(*) FROM pg_listening_channels()),
           (SELECT count(*) FROM pg_prepared_statements),
           (SELECT count(*) FROM pg_cursors WHERE is_holdable)
"""

DIRTY: dict[str, str] = {
    "set": "SET statement_timeout = '5s'",
    "set session": "SET SESSION search_path = pg_catalog",
    "time zone": "SET TIME ZONE 'Europe/Paris'",
    "set_config": "SELECT set_config('app.user', 'mallory', false)",
    "set_config in capitals": "SELECT \"set_config\"('app.user', 'mallory', false)",
    "set_config with its schema": "SELECT pg_catalog.set_config('app.user', 'mallory', false)",
    "set_config behind a comment": "SELECT set_config/**/('app.user', 'mallory', false)",
    "set_config in a subquery": "SELECT 1 WHERE (SELECT (set_config('app.user', 'mallory', false))) = 'mallory'",
    "set_config second": "SELECT 1; SELECT set_config('app.user', 'mallory', false)",
    "set_config in a block": "DO $$ BEGIN PERFORM set_config('app.user', 'mallory', false); END $$",
    "role": "SET ROLE pg_monitor",
    "session authorization": "SET SESSION AUTHORIZATION pg_monitor",
    "temporary table": "CREATE TEMP TABLE left_behind (id int)",
    "temporary table by select": "SELECT 1 AS id INTO TEMP left_behind",
    "temporary table as": "CREATE TEMPORARY TABLE left_behind AS SELECT 1 AS id",
    "advisory lock": "SELECT pg_advisory_lock(21)",
    "tried advisory lock": "SELECT pg_try_advisory_lock(21)",
    "shared advisory lock": "SELECT pg_advisory_lock_shared(21)",
    "listen": "LISTEN gossip",
    "prepare": "PREPARE left_behind AS SELECT 1",
    "holdable cursor": "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
}


def probe(connection: Connection) -> tuple[Any, ...]:
    row = connection.execute(PROBE).fetchone()
    assert row is not None
    return tuple(row)


def what_the_next_one_sees(
    pool: ServerPool, route: DatabaseRoute, act: Callable[[Connection], object]
) -> list[tuple[Any, ...]]:
    """The session's state before one borrower acts, and that which the next one finds in the same session."""
    first = pool.getconn(route)
    before = probe(first)
    backend = first.info.backend_pid
    pool.putconn(first)
    first = pool.getconn(route)
    act(first)
    pool.putconn(first)
    second = pool.getconn(route)
    assert second.info.backend_pid == backend
    after = probe(second)
    pool.putconn(second)
    return [before, after]


@pytest.fixture
def route(databases: list[str]) -> DatabaseRoute:
    return DatabaseRoute(databases[0])


@pytest.mark.parametrize("statement", DIRTY.values(), ids=DIRTY.keys())
def test_nothing_outlives_the_loan(make_pool: MakePool, route: DatabaseRoute, statement: str) -> None:
    before, after = what_the_next_one_sees(make_pool(max_size=1), route, lambda it: it.execute(statement))
    assert after == before


@pytest.mark.parametrize("statement", DIRTY.values(), ids=DIRTY.keys())
def test_control_without_the_reset_the_next_borrower_sees_it(
    make_pool: MakePool, route: DatabaseRoute, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "_start_query", psycopg.Connection._start_query)  # nobody notes that something ran
    before, after = what_the_next_one_sees(make_pool(max_size=1), route, lambda it: it.execute(statement))
    assert after != before


def test_a_cursor_of_another_class_is_noticed_too(make_pool: MakePool, route: DatabaseRoute) -> None:
    def act(connection: Connection) -> None:
        psycopg.ClientCursor(connection).execute("SET statement_timeout = '5s'")

    before, after = what_the_next_one_sees(make_pool(max_size=1), route, act)
    assert after == before


def test_a_statement_that_failed_and_one_in_a_transaction_are_noticed(
    make_pool: MakePool, route: DatabaseRoute
) -> None:
    def act(connection: Connection) -> None:
        with connection.transaction():
            connection.execute("SELECT set_config('app.user', 'mallory', false)")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")

    before, after = what_the_next_one_sees(make_pool(max_size=1), route, act)
    assert after == before


def test_what_a_borrower_registered_on_this_side_goes_too(make_pool: MakePool, route: DatabaseRoute) -> None:
    pool = make_pool(max_size=1)
    connection = pool.getconn(route)
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    connection.add_notify_handler(print)
    pool.putconn(connection)
    again = pool.getconn(route)
    assert again is connection
    assert (again.read_only, again.isolation_level, again._notify_handlers) == (None, None, [])


# --- Nothing extra on the wire -----------------------------------------------------------------------------------------


@pytest.fixture
def proxied(databases: list[str]) -> Iterator[tuple[Proxy, DatabaseRoute]]:
    with Proxy(primary_url()) as proxy:
        yield proxy, DatabaseRoute(databases[0], url=proxy.url)


def test_a_loan_costs_no_round_trip(make_pool: MakePool, proxied: tuple[Proxy, DatabaseRoute]) -> None:
    proxy, route = proxied
    pool = make_pool(max_size=1)
    pool.putconn(pool.getconn(route))
    before = proxy.sent
    for _ in range(20):
        connection = pool.getconn(route)
        connection.execute("SELECT count(*) FROM pg_class WHERE relname = %s", ["x"]).fetchone()
        pool.putconn(connection)
    assert proxy.sent - before == 20  # the queries' own


def test_control_a_session_that_was_touched_costs_one(
    make_pool: MakePool, proxied: tuple[Proxy, DatabaseRoute]
) -> None:
    proxy, route = proxied
    pool = make_pool(max_size=1)
    pool.putconn(pool.getconn(route))
    before = proxy.sent
    connection = pool.getconn(route)
    connection.execute("SET lock_timeout = '1s'")
    pool.putconn(connection)
    assert proxy.sent - before == 2


def test_what_the_orm_writes_is_plain(committed_tenant: TenantRef, django_db_blocker: DjangoDbBlocker) -> None:
    """A life of a row through the ORM, and the session that it ran in needs no reset."""
    from django.db import transaction
    from django.db.models import Count, F, Q, Value
    from django.db.models.functions import Coalesce, Concat, Lower, TruncMonth

    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        django_connection.ensure_connection()
        raw = django_connection.connection
        raw.touched = False
        with transaction.atomic():
            user = User.objects.create_user(f"{uuid.uuid4()}@acme.example", name="(set_config(")
            User.objects.bulk_create([User(email=f"{uuid.uuid4()}@acme.example"), User(email="two@acme.example")])
            User.objects.filter(pk=user.pk).update(
                name=Concat(F("name"), Value("!")), session_epoch=F("session_epoch") + 1
            )
            with transaction.atomic():
                assert User.objects.select_for_update().get(pk=user.pk).name == "(set_config(!"
            list(
                User.objects.annotate(month=TruncMonth("created_at"))
                .values("month")
                .annotate(n=Count("id", filter=Q(role="x")))
            )
            list(User.objects.filter(Q(email__icontains="a") | Q(name__in=["a", "b"])).order_by(Lower("email"))[:5])
            User.objects.annotate(label=Coalesce("name", "email")).filter(groups=None).exists()
            User.objects.filter(pk__in=User.objects.values("pk")).exclude(email__startswith="x").count()
            user.delete()
            transaction.set_rollback(True)
        assert not raw.touched


QUERIES = [statement for statement in DIRTY.values() if statement.startswith("SELECT")]


@given(st.sampled_from(list(DIRTY.values())), st.sampled_from(["{}", " {}", "\n{}", "{} ", "{};"]))
def test_no_spelling_makes_a_statement_that_leaves_something_plain(statement: str, form: str) -> None:
    for spelled in (statement, statement.lower(), statement.upper(), statement.replace(" ", "\n ")):
        assert not is_plain(form.format(spelled))


@given(
    st.sampled_from(QUERIES),
    st.lists(
        st.sampled_from(
            [
                "({})",
                "WITH x AS ({}) SELECT * FROM x",
                "SELECT coalesce(({}), '\"')",
                'INSERT INTO "t" ("a", "b") {}',
                'INSERT INTO "t" ("a") VALUES ((({})))',
                'UPDATE "t" SET "a" = ({}) WHERE "b" IN (1, 2)',
                "SELECT '\"', ({}), '\"'",
                "COPY ({}) TO STDOUT",
                "SELECT 1 ORDER BY ({})",
            ]
        ),
        max_size=3,
    ),
)
def test_no_query_around_it_hides_a_call(statement: str, wrappings: list[str]) -> None:
    for wrapping in wrappings:
        statement = wrapping.format(statement)
    assert not is_plain(statement)
