"""A relay that is killed anywhere loses nothing, doubles nothing and leaves no gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from django.db import transaction

from activity import outbox
from activity.models import OutboxEvent
from activity.relay import relay
from activity.verify import verify
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, faults, logged, report
from tests.activity.proxy import Proxy

COMMANDS = {name: b"\x02" + name.encode() + b"\x00" for name in ("find", "createIndexes", "insert")}


def record(count: int) -> list[str]:
    with transaction.atomic():
        for number in range(count):
            outbox.record(report(number))
    return [str(event_id) for event_id in OutboxEvent.objects.order_by("id").values_list("event_id", flat=True)]


def kill_relay_at(ref: TenantRef, command: str, *, after: bool = False, careless: bool = False) -> None:
    """Run a relay whose message to MongoDB (or, `after`, the answer) is held back, and SIGKILL it there."""
    with Proxy(os.environ["MONGO_URL"], marker=COMMANDS[command], after=after) as proxy:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.activity.relay_process", ref.id, *(["careless"] if careless else [])],
            env=os.environ | {"MONGO_URL": proxy.url, "DJANGO_SETTINGS_MODULE": "config.settings"},
        )
        try:
            assert proxy.held.wait(30), f"the relay never came to its {command}"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize(
    ("command", "after"),
    [("find", False), ("createIndexes", False), ("insert", False), ("insert", True)],
    ids=["before it numbers", "when it has numbered", "when it appends", "when the log has it"],
)
def test_a_killed_relay_is_finished_by_the_next(lasting_tenant: LastingTenant, command: str, after: bool) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        ids = record(20)
        kill_relay_at(ref, command, after=after)
        in_log = len(logged(ref))
        assert in_log == (20 if after else 0)
        assert OutboxEvent.objects.count() == 20
        numbered = OutboxEvent.objects.filter(seq__isnull=False).count()
        assert numbered == (0 if command == "find" else 20)
        ids += record(5)[20:]
        while not relay(ref).emptied:
            time.sleep(0.05)
        assert verify(ref).checked == 25
        assert verify(ref).valid
    assert faults(ids, logged(ref)) == []


def test_killed_again_and_again_it_still_ends_well(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        ids: list[str] = []
        for turn in range(4):
            ids += [event_id for event_id in record(5) if event_id not in ids]
            kill_relay_at(ref, "insert" if turn % 2 else "find", after=bool(turn % 3))
        while not relay(ref).emptied:  # Postgres has yet to notice that the killed one, which held the lock, is gone
            time.sleep(0.05)
        assert verify(ref).valid
    assert faults(ids, logged(ref)) == []


def test_a_relay_that_deletes_first_is_found_out(lasting_tenant: LastingTenant) -> None:
    ref = lasting_tenant()
    with context.use_tenant(ref):
        ids = record(20)
        kill_relay_at(ref, "insert", careless=True)
        relay(ref)
    assert faults(ids, logged(ref)) == [f"lost {event_id}" for event_id in ids]
