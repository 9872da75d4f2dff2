"""The test kit: two tenants for each test, made once for a test run, and everything that a test writes rolled back in both.

With pytest-django, load it as a plugin (`pytest_plugins = ["tenants.testing"]`) and ask for `acme` and `globex`, or for `tenant`, which is
`acme` entered. A test marked `django_db` runs inside `acme` with no change. With Django's own TestCase, derive from TenantTestCase.

The tenants are real ones, each with its database. A test costs a BEGIN and a ROLLBACK in each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, TypeVar

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import TestCase

from tenants import context
from tenants.db import aio
from tenants.errors import SlugTaken, TenantNotFound
from tenants.refs import CONTROL, Ref, TenantRef

T = TypeVar("T")

SLUGS = ("acme", "globex")

_tenants: dict[str, TenantRef] = {}


def prepare_tenants() -> dict[str, TenantRef]:
    """Migrate control and the template and make the two tenants, unless this process has done so already."""
    if not _tenants:
        from tenants import directory
        from tenants.lifecycle.provision import provision_tenant

        with context.use_control():
            call_command("prepare", verbosity=0)
            for slug in SLUGS:
                try:
                    provision_tenant(slug=slug, name=slug.capitalize())
                except SlugTaken:  # a database kept from an earlier run
                    pass
                try:
                    _tenants[slug] = directory.by_slug(slug)
                except TenantNotFound as error:
                    raise RuntimeError(f"the tenant {slug} of the test kit is not active") from error
    return dict(_tenants)


@contextmanager
def rolled_back(refs: Sequence[Ref]) -> Iterator[None]:
    """Everything that the block writes in these databases is rolled back at its end.

    The transactions are marked as a TestCase's, so that entering and leaving tenants inside the block isn't refused, `durable`
    blocks work, and the connections stay with the block.
    """
    with ExitStack() as stack:
        for ref in refs:
            stack.enter_context(_rolled_back(ref))
        yield


@contextmanager
def _rolled_back(ref: Ref) -> Iterator[None]:
    with context.use(ref):
        atomic: Any = transaction.atomic()
        atomic._from_testcase = True
        atomic.__enter__()
    try:
        yield
    finally:
        with context.use(ref):
            transaction.set_rollback(True)
            atomic.__exit__(None, None, None)


# --- pytest-django ---------------------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests marked `django_db` reach control too: the route to a tenant is read there."""
    for item in items:
        mark = item.get_closest_marker("django_db")
        if mark is not None and "databases" not in mark.kwargs:
            kwargs = {**mark.kwargs, "databases": ["default", "control"]}
            item.add_marker(pytest.mark.django_db(*mark.args, **kwargs), append=False)


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any) -> None:
    """In the place of pytest-django's: the kit's databases are made by `prepare`, as in production."""
    with django_db_blocker.unblock():
        prepare_tenants()


@pytest.fixture(scope="class", autouse=True)
def tenant_of_marked_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Enter `acme` before pytest-django opens the transaction of a test that is marked `django_db`.

    Of class scope, since a fixture of the function's scope could come after pytest-django's.
    """
    marked = request.node.get_closest_marker("django_db") or any(
        item.get_closest_marker("django_db") for item in request.session.items if item.parent is request.node
    )
    if not marked:
        yield
        return
    request.getfixturevalue("django_db_setup")
    with context.use_tenant(_tenants["acme"]):
        yield


@pytest.fixture
def tenants(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, TenantRef]]:
    """Both tenants by slug; what the test writes in them and in control is rolled back."""
    with django_db_blocker.unblock(), rolled_back([CONTROL, *_tenants.values()]):
        yield dict(_tenants)


@pytest.fixture
def acme(tenants: dict[str, TenantRef]) -> TenantRef:
    """The first tenant, not entered."""
    return tenants["acme"]


@pytest.fixture
def globex(tenants: dict[str, TenantRef]) -> TenantRef:
    """The second tenant, not entered."""
    return tenants["globex"]


@pytest.fixture
def tenant(acme: TenantRef) -> Iterator[TenantRef]:
    """The first tenant, entered for the time of the test."""
    with context.use_tenant(acme):
        yield acme


@pytest.fixture
def in_stream(django_db_setup: None, settings: Any) -> Callable[[str, Callable[[], Coroutine[Any, Any, T]]], T]:
    """Run a coroutine function inside a tenant, by its slug, as `stream` does: in a loop, on async connections of its own.

    It sees what is committed, and not what the test has written in its transaction.
    """
    settings.TENANTRY_PROCESS = "stream"

    def run(slug: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def whole() -> T:
            try:
                with context.use_tenant(_tenants[slug]):
                    return await work()
            finally:
                await aio.close_all()

        return asyncio.run(whole())

    return run


# --- Django's TestCase -----------------------------------------------------------------------------------------------------


class TenantTestCase(TestCase):
    """A TestCase that runs inside `self.acme`, with `self.globex` beside it; both are rolled back after each test."""

    databases: ClassVar[set[str]] = {"default", "control"}  # type: ignore[misc]
    acme: ClassVar[TenantRef]
    globex: ClassVar[TenantRef]
    _other_tenant: ClassVar[ExitStack]

    @classmethod
    def setUpClass(cls) -> None:
        tenants = prepare_tenants()
        cls.acme, cls.globex = tenants["acme"], tenants["globex"]
        cls.enterClassContext(rolled_back([cls.globex]))
        cls.enterClassContext(context.use_tenant(cls.acme))
        super().setUpClass()

    @classmethod
    def _fixture_setup(cls) -> None:
        super()._fixture_setup()  # type: ignore[misc]
        cls._other_tenant = ExitStack()
        cls._other_tenant.enter_context(rolled_back([cls.globex]))

    def _fixture_teardown(self) -> None:
        self._other_tenant.close()
        super()._fixture_teardown()  # type: ignore[misc]
