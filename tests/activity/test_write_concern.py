"""What is appended is acknowledged by a majority that has it in its journal: read from the commands that were sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from pymongo import WriteConcern
from pymongo.monitoring import CommandListener

from activity import mongo, outbox
from activity.relay import relay
from tenants.refs import TenantRef
from tests.activity.conftest import report


class Sent(CommandListener):
    """Keeps the commands that write."""

    def __init__(self) -> None:
        self.writes: list[dict[str, Any]] = []

    def started(self, event: Any) -> None:
        if event.command_name in {"insert", "update", "delete"}:
            self.writes.append(dict(event.command))

    def succeeded(self, event: Any) -> None:
        """Not asked for."""

    def failed(self, event: Any) -> None:
        """Not asked for."""


def begin_anew() -> None:
    """The next one who asks makes a client, with the listeners of then."""
    wrapper = connections[mongo.ALIAS]
    wrapper.ensure_connection()
    wrapper.close_pool()


@pytest.fixture
def sent(tenants: dict[str, TenantRef]) -> Iterator[list[dict[str, Any]]]:
    listeners = connections[mongo.ALIAS].settings_dict["OPTIONS"]["event_listeners"]
    listener = Sent()
    begin_anew()
    listeners.append(listener)
    yield listener.writes
    listeners.remove(listener)
    begin_anew()


def test_an_append_waits_for_the_journals_of_a_majority(tenant: TenantRef, sent: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        outbox.record(report(1))
    relay(tenant)
    (write,) = sent
    assert write["insert"] == "activity_events"
    assert write["writeConcern"] == {"w": "majority", "j": True, "wtimeout": mongo.WRITE_TIMEOUT}
    assert write["ordered"] is True


def test_another_write_concern_would_be_seen(tenant: TenantRef, sent: list[dict[str, Any]]) -> None:
    """The control."""
    mongo.events().with_options(write_concern=WriteConcern(w=1)).insert_one({"tenant": tenant.id, "seq": 1})
    (write,) = sent
    assert write["writeConcern"] == {"w": 1}
