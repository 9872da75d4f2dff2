"""A tenant whose log is followed: in a `stream` that runs for real, or in a loop of the test's own."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from django.db import transaction
from pytest_django import DjangoDbBlocker

from accounts.auth import Caller, caller_of
from accounts.models import ApiToken, User
from accounts.services.tokens import token_create
from activity import mongo, outbox, tail
from activity.models import LogHead
from activity.relay import relay
from tenants import context
from tenants.context import use_tenant
from tenants.db import aio
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef
from tests.activity.conftest import report
from tests.operations.conftest import collected_static, start  # noqa: F401  fixtures
from tests.operations.processes import FrontEnd, front_end
from tests.tail.listening import Listener

T = TypeVar("T")


@dataclass
class Followed:
    """A tenant in which commits are commits, with an owner and a token."""

    ref: TenantRef
    owner: User
    token: ApiToken
    secret: str

    @property
    def host(self) -> str:
        return f"{self.ref.slug}.localhost"

    def record(self, *numbers: int) -> None:
        """Commit a report's event for each number, and relay all of them."""
        with use_tenant(self.ref):
            with transaction.atomic():
                for number in numbers:
                    outbox.record(report(number))
            relay(self.ref)

    def head(self) -> int:
        """The number of the last event."""
        with use_tenant(self.ref):
            return LogHead.objects.values_list("appended", flat=True).first() or 0

    def settle(self) -> int:
        """Relay what there is; the number of the last event then."""
        self.record()
        return self.head()

    def caller(self) -> Caller:
        """The owner by the token."""
        with use_tenant(self.ref):
            return caller_of(self.owner, self.token)

    async def listen(self, stream: FrontEnd, query: str = "", **headers: Any) -> Listener:
        """Follow with the token."""
        return await Listener.open(
            stream.url, query, host=self.host, **{"Authorization": f"Bearer {self.secret}", **headers}
        )


def make_followed(slug: str) -> Followed:
    ref, _ = provision_tenant(slug=slug, name=slug.capitalize())
    with use_tenant(ref):
        owner = User.objects.create_user(f"owner@{slug}.example", "correct horse battery", name="Olga", role="owner")
        token, secret = token_create(user=owner, name="tail", scopes=["read"])
        return Followed(ref, owner, token, secret)


@pytest.fixture(scope="package")
def _followed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Followed, Followed]]:
    with django_db_blocker.unblock():
        mongo.ensure_indexes()
        both = make_followed("followed"), make_followed("unfollowed")
        yield both
        for each in both:
            with context.use_control():
                delete_tenant(each.ref)


@pytest.fixture
def followed(_followed: tuple[Followed, Followed], django_db_blocker: DjangoDbBlocker) -> Iterator[Followed]:
    with django_db_blocker.unblock():
        _followed[0].settle()
        yield _followed[0]


@pytest.fixture
def other(_followed: tuple[Followed, Followed], followed: Followed) -> Followed:
    """Another tenant."""
    _followed[1].settle()
    return _followed[1]


@pytest.fixture(scope="package")
def stream(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    collected_static: None,  # noqa: F811
) -> Iterator[FrontEnd]:
    """`stream`, for tests that leave it as it is."""
    with front_end(tmp_path_factory.mktemp("stream"), "stream", WEB_URL="http://localhost:8000") as found:
        yield found


InLoop = Callable[[Callable[[], Coroutine[Any, Any, T]]], T]


@pytest.fixture
def in_loop(followed: Followed, settings: Any) -> InLoop[Any]:
    """Run a coroutine function in a loop that has a hub of its own, as `stream`'s has."""
    settings.TENANTRY_PROCESS = "stream"

    def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def whole() -> T:
            try:
                return await work()
            finally:
                await tail.close()
                await aio.close_all()

        try:
            return asyncio.run(whole())
        finally:
            # pymongo leaves the socket of a connection to the garbage collector when it is cancelled while it is being opened.
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                gc.collect()

    return run


def faults(wanted: Sequence[int], got: Sequence[int]) -> list[str]:
    """What is wrong with the numbers that a client got: none may be lost, repeated or out of order."""
    found = [f"lost {number}" for number in wanted if number not in got]
    found += [f"repeated {number}" for number in sorted(set(got)) if got.count(number) > 1]
    found += [f"not asked for: {number}" for number in sorted(set(got) - set(wanted))]
    if not found and list(got) != list(wanted):
        found.append("out of order")
    return found
