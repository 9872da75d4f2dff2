"""Querysets, statements, transactions and COPY run natively async in real tenants."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Concat, Lower, TruncDay
from django.db.transaction import TransactionManagementError

from accounts.models import ApiToken, User
from tenants import context
from tenants.context import use_tenant
from tenants.db import aio
from tenants.db.aio import pools
from tenants.errors import CrossTenant, NoTenant, TransactionElsewhere
from tenants.refs import TenantRef

Run = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture
def run(django_db_setup: None, settings: Any) -> Run:
    """Run a coroutine as `stream` would: in a loop, with async pools, and no way for Django to connect in it."""
    settings.TENANTRY_PROCESS = "stream"

    def in_loop(work: Callable[[], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            try:
                return await asyncio.wait_for(work(), 60)
            finally:
                await aio.close_all(5.0)
                assert [pool.get_stats()["pool_size"] for pool in pools.all_pools()] in ([], [0]), "one is lent still"

        return asyncio.run(whole())

    return in_loop


@pytest.fixture
def both(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[TenantRef, TenantRef]]:
    """acme and globex with a few committed members each, who are removed at the end."""
    from tenants.testing import prepare_tenants

    with django_db_blocker.unblock():
        refs = prepare_tenants()
        pair = refs["acme"], refs["globex"]
        for ref in pair:
            with use_tenant(ref):
                people = [
                    User(email=f"async{n}@{ref.slug}.example", name=f"Async {n}", role="member", is_active=n % 2 == 0)
                    for n in range(6)
                ]
                User.objects.bulk_create(people)
                ApiToken.objects.create(
                    user=people[0], name="async", prefix="async", token_hash=f"async-{ref.slug}", scopes=["read", "é"]
                )
        yield pair
        for ref in pair:
            with use_tenant(ref):
                User.objects.filter(email__startswith="async").delete()


def mine() -> QuerySet[User]:
    return User.objects.filter(email__startswith="async").order_by("email")


QUERYSETS: dict[str, Callable[[], QuerySet[Any, Any]]] = {
    "instances": mine,
    "select_related": lambda: ApiToken.objects.select_related("user").filter(name="async"),
    "only": lambda: mine().only("email"),
    "values": lambda: mine().values("id", "email", "is_active", "created_at"),
    "values of expressions": lambda: mine().values(day=TruncDay("created_at"), low=Lower("email")),
    "values_list": lambda: mine().values_list("email", "last_login"),
    "flat": lambda: mine().values_list("email", flat=True),
    "named": lambda: mine().values_list("email", "role", named=True),
    "group by": lambda: mine().order_by().values("is_active").annotate(n=Count("id")).order_by("is_active"),
    "exists": lambda: mine().annotate(has=Exists(ApiToken.objects.filter(user=OuterRef("pk")))),
    "json": lambda: ApiToken.objects.filter(name="async", scopes__contains=["é"]).values_list("scopes", flat=True),
    "concat": lambda: mine().annotate(both=Concat(F("email"), Value(" 100% "), F("name"))),
    "Q and in": lambda: mine().filter(Q(email__icontains="0@") | Q(role__in=["owner", "member"]), name__gt=""),
    "empty string": lambda: mine().exclude(name=""),
    "slice": lambda: mine()[1:3],
    "union": lambda: mine().filter(is_active=True).union(mine().filter(is_active=False)).order_by("email"),
    "extra": lambda: mine().extra(select={"one": "1"}).values("one", "email"),
    "distinct": lambda: mine().order_by().values_list("role", flat=True).distinct(),
    "none": lambda: mine().none(),
    "in nothing": lambda: mine().filter(pk__in=[]),
}


def plain(found: Any) -> Any:
    """A result as something that compares by value, with what is cached of relations."""
    if not hasattr(found, "_state"):
        return found
    fields = {name: value for name, value in vars(found).items() if name != "_state"}
    return type(found), found._state.db, fields, {k: plain(v) for k, v in found._state.fields_cache.items()}


@pytest.mark.parametrize("name", QUERYSETS)
def test_a_queryset_gives_what_it_gives_synchronously(name: str, run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def fetch() -> list[Any]:
        with use_tenant(both[0]):
            return await aio.fetch(QUERYSETS[name]())

    with use_tenant(both[0]):
        expected = [plain(found) for found in QUERYSETS[name]()]
    assert [plain(found) for found in run(fetch)] == expected
    assert expected or name in {"none", "in nothing"}


def test_an_instance_belongs_to_its_tenant_and_is_refused_in_another(
    run: Run, both: tuple[TenantRef, TenantRef]
) -> None:
    acme, globex = both

    async def fetch() -> User | None:
        with use_tenant(acme):
            return await aio.fetch_one(mine())

    user = run(fetch)
    assert user._state.db == acme.alias
    with use_tenant(globex), pytest.raises(CrossTenant):
        list(ApiToken.objects.filter(user=user))

    async def filter_by_it() -> None:
        with use_tenant(globex):
            await aio.fetch(ApiToken.objects.filter(user=user))

    with pytest.raises(CrossTenant):
        run(filter_by_it)

    async def by_alias() -> None:
        with use_tenant(globex):
            await aio.fetch(User.objects.using(acme.alias))

    with pytest.raises(CrossTenant):
        run(by_alias)


def test_without_a_tenant_nothing_is_asked(run: Run) -> None:
    async def fetch() -> None:
        await aio.fetch(User.objects.all())

    with pytest.raises(NoTenant):
        run(fetch)
    with pytest.raises(NoTenant):
        run(lambda: aio.execute("SELECT 1"))


def test_coroutines_of_several_tenants_side_by_side_stay_in_their_own(
    run: Run, both: tuple[TenantRef, TenantRef]
) -> None:
    async def one(ref: TenantRef, number: int) -> None:
        with use_tenant(ref):
            await asyncio.sleep(number % 3 / 100)
            found = await aio.fetch(mine().values_list("email", flat=True))
            assert len(found) == 6
            assert all(email.endswith(f"@{ref.slug}.example") for email in found)
            assert context.current_tenant() is ref
            database = (await aio.execute("SELECT current_database()")).rows
            assert database == [(ref.database,)]
        assert context.active() is None

    async def all_at_once() -> None:
        await asyncio.gather(*(one(both[number % 2], number) for number in range(40)))

    run(all_at_once)


def test_a_child_task_inherits_the_tenant_and_keeps_it(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def child() -> str:
        await asyncio.sleep(0.05)
        return context.current_tenant().slug

    async def parent() -> str:
        with use_tenant(both[0]):
            task = asyncio.create_task(child())
        assert context.active() is None
        return await task

    assert run(parent) == "acme"


def threads_of_this_loop() -> set[threading.Thread]:
    """All threads but the helpers of other loops (the monitor's and the keeper's, which look names up in them)."""
    executor = asyncio.get_running_loop()._default_executor  # type: ignore[attr-defined]
    own = set(executor._threads) if executor else set()
    return own | {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def test_independent_queries_run_side_by_side_on_no_thread(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def two() -> None:
        with use_tenant(both[0]):
            await aio.execute("SELECT 1")  # whatever is read once has been read
            threads = threads_of_this_loop()
            # Each waits for what the other does, so one after the other would never end.
            first = aio.execute("SELECT pg_advisory_lock(1), pg_sleep(0.2), pg_advisory_unlock(1)")
            second = aio.execute("SELECT pg_sleep(0.1), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')")
            _, seen = await asyncio.gather(first, second)
            assert seen.rows[0][1] >= 1
            assert threads_of_this_loop() == threads

    run(two)


def test_a_transaction_commits_whole_and_rolls_back_whole(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    insert = (
        "INSERT INTO accounts_user (id, password, is_superuser, email, name, role, is_active, is_staff, created_at, session_epoch)"
        " VALUES (%s, '', false, %s, '', 'viewer', true, false, now(), 0)"
    )

    async def count() -> int:
        return len(await aio.fetch(mine().filter(role="viewer")))

    async def work() -> None:
        with use_tenant(both[0]):
            with pytest.raises(ZeroDivisionError):
                async with aio.transaction():
                    await aio.execute(insert, [uuid.uuid4(), "async-a@acme.example"])
                    assert await count() == 1  # on the same connection
                    raise ZeroDivisionError
            assert await count() == 0
            async with aio.transaction():
                await aio.execute(insert, [uuid.uuid4(), "async-b@acme.example"])
                with pytest.raises(IntegrityError):
                    async with aio.transaction():
                        await aio.execute(insert, [uuid.uuid4(), "async-c@acme.example"])
                        await aio.execute(insert, [uuid.uuid4(), "ASYNC-c@acme.example"])
                await aio.execute(insert, [uuid.uuid4(), "async-d@acme.example"])
            assert await count() == 2
            with pytest.raises(TransactionManagementError):
                async with aio.transaction():
                    await aio.execute(insert, [uuid.uuid4(), "async-e@acme.example"])
                    with pytest.raises(ProgrammingError):
                        await aio.execute("SELECT nothing FROM nowhere")
            assert await count() == 2

    run(work)


def test_locking_rows_needs_a_transaction(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def work() -> None:
        with use_tenant(both[0]):
            with pytest.raises(TransactionManagementError):
                await aio.fetch(mine().select_for_update())
            async with aio.transaction():
                assert len(await aio.fetch(mine().select_for_update())) == 6

    run(work)


def test_a_transaction_is_its_tasks_own(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def work() -> None:
        with use_tenant(both[0]):
            async with aio.transaction():
                with pytest.raises(TransactionElsewhere):
                    await asyncio.create_task(aio.fetch(mine()))
                with use_tenant(both[1]), pytest.raises(CrossTenant):
                    await aio.fetch(mine())

    run(work)


def test_errors_are_djangos(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def work() -> None:
        with use_tenant(both[0]):
            with pytest.raises(ProgrammingError):
                await aio.execute("SELECT nothing")
            with pytest.raises(OperationalError):
                await aio.execute("SET statement_timeout = 50; SELECT pg_sleep(5)")
            assert (await aio.execute("SHOW statement_timeout")).rows != [("50ms",)]

    run(work)


def test_prefetch_related_is_refused_rather_than_asked_synchronously(
    run: Run, both: tuple[TenantRef, TenantRef]
) -> None:
    async def work() -> None:
        with use_tenant(both[0]):
            await aio.fetch(mine().prefetch_related("api_tokens"))

    with pytest.raises(ValueError, match="a query of its own"):
        run(work)


def test_a_copy_streams_blocks_that_make_up_the_whole(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def work() -> tuple[int, bytes]:
        with use_tenant(both[0]):
            blocks = [block async for block in aio.copy("COPY (SELECT generate_series(1, %s)) TO STDOUT", [100_000])]
            members = (
                "COPY (SELECT email FROM accounts_user WHERE email LIKE 'async%' ORDER BY 1) TO STDOUT (FORMAT csv)"
            )
            one = b"".join([block async for block in aio.copy(members)])
            assert max(map(len, blocks)) < 70_000
            assert b"".join(blocks) == b"".join(b"%d\n" % number for number in range(1, 100_001))
            return len(blocks), one

    count, one = run(work)
    assert count > 5
    assert one.decode().split() == [f"async{n}@acme.example" for n in range(6)]


def test_a_copy_that_fails_raises_and_leaves_a_clean_connection(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def work() -> None:
        with use_tenant(both[0]):
            for statement, error in (
                ("COPY (SELECT 1 / (50000 - n) FROM generate_series(1, 100000) AS n) TO STDOUT", "division by zero"),
                ("COPY (SELECT nothing) TO STDOUT", "does not exist"),
                ("SELECT 1", "not a COPY"),
                ("COPY (INSERT INTO accounts_user DEFAULT VALUES RETURNING id) TO STDOUT", "read-only transaction"),
            ):
                with pytest.raises(Exception, match=error):
                    async for _ in aio.copy(statement):
                        pass
                assert (await aio.execute("SELECT 1")).rows == [(1,)]
            with pytest.raises(OperationalError, match="statement timeout"):
                async for _ in aio.copy("COPY (SELECT pg_sleep(5)) TO STDOUT", timeout=0.1):
                    pass
            (pool,) = pools.all_pools()
            assert pool.get_stats()["connections_num"] == 1

    run(work)


def test_a_copy_that_is_left_is_cancelled_at_the_server(run: Run, both: tuple[TenantRef, TenantRef]) -> None:
    async def work() -> None:
        with use_tenant(both[0]):
            async with aclosing(aio.copy("COPY (SELECT generate_series(1, 1000000000)) TO STDOUT")) as blocks:
                async for _ in blocks:
                    break
            (pool,) = pools.all_pools()
            while pool._tasks:
                await asyncio.sleep(0.01)
            assert (await aio.execute("SELECT 1")).rows == [(1,)]
            assert pool.get_stats()["connections_num"] == 1
            assert pool.get_stats()["returns_bad"] == 0

    run(work)
