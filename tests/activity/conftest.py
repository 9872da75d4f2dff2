"""Events to record, the log of a tenant as a test sees it, and tenants whose writes are really committed."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from pytest_django import DjangoDbBlocker

from activity import mongo
from activity.events import Event, Target
from tenants import context
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef


@dataclass(frozen=True, kw_only=True)
class ReportPublished(Event):
    action: ClassVar[str] = "report.published"
    pages: int = 1


def report(number: int) -> ReportPublished:
    return ReportPublished(target=Target("report", str(number), f"Report {number}"), pages=number)


def logged(ref: TenantRef) -> list[dict[str, Any]]:
    """Everything that MongoDB has of a tenant, by number."""
    return sorted(mongo.events().find({"tenant": ref.id}), key=lambda document: document["seq"])


def faults(recorded: Sequence[str], documents: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with a log, given the ids that were committed in their order: none may be lost, invented, doubled or out of order."""
    ids = [document["id"] for document in documents]
    found = [f"lost {event_id}" for event_id in recorded if event_id not in ids]
    found += [f"invented {event_id}" for event_id in ids if event_id not in recorded]
    found += [f"doubled {event_id}" for event_id in set(ids) if ids.count(event_id) > 1]
    if [document["seq"] for document in documents] != list(range(1, len(documents) + 1)):
        found.append("the numbers have a gap")
    if not found and ids != list(recorded):
        found.append("out of order")
    return found


@pytest.fixture(autouse=True)
def empty_where_there_is_a_cast(request: pytest.FixtureRequest) -> None:
    """The cast's logs begin empty in every test here that has a cast."""
    if "tenants" in request.fixturenames:
        request.getfixturevalue("empty_logs")


@pytest.fixture
def primary_url() -> str:
    """The test server's administrator."""
    url: str = json.loads(os.environ["TENANT_SERVERS"])["local"]["primary"]
    return url


_numbers = itertools.count(1)
LastingTenant = Callable[[], TenantRef]


@pytest.fixture
def lasting_tenant(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[LastingTenant]:
    """Makes tenants in which commits are commits, for tests with several connections or processes."""
    made: list[TenantRef] = []

    def make() -> TenantRef:
        ref, _ = provision_tenant(slug=f"lasting{next(_numbers)}", name="Lasting")
        made.append(ref)
        return ref

    with django_db_blocker.unblock():
        yield make
        for ref in made:
            with context.use_control():
                delete_tenant(ref)
