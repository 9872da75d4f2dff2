"""A writer that is killed anywhere leaves a change with its event, or neither."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.db import connection

from activity.models import OutboxEvent
from activity.relay import relay
from tenants import context
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, logged
from tests.notes.models import Note
from tests.system import wait_for

Writers = subprocess.Popen[str]


@pytest.fixture(scope="module")
def made_by() -> Iterator[Writers]:
    """The process that makes writers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.activity.writer_process"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def kill_writer(made_by: Writers, ref: TenantRef, first: int, how: str, chance: random.Random) -> int:
    """Let a writer write from this number on, and SIGKILL it; the next number to use."""
    assert made_by.stdin
    assert made_by.stdout
    before = OutboxEvent.objects.count()
    made_by.stdin.write(f"{ref.id} {first} {how}\n")
    made_by.stdin.flush()
    pid = int(made_by.stdout.readline())
    try:
        wait_for(lambda: OutboxEvent.objects.count() > before + 5, timeout=30, interval=0.01, what="writes")
        time.sleep(chance.uniform(0, 0.02))
    finally:
        os.kill(pid, signal.SIGKILL)
        assert made_by.stdout.readline() == "killed\n"
    ended = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())"

    def is_over() -> bool:  # a statement that was on its way may still commit
        with connection.cursor() as cursor:
            cursor.execute(ended)
            return bool(cursor.fetchone()[0])

    wait_for(is_over, what="the end of the killed writer's session")
    return first + 1_000_000


def compare(ref: TenantRef) -> tuple[set[int], set[int]]:
    """The changes without an event, and the events without a change."""
    relay(ref)
    changed = {int(title) for title in Note.objects.values_list("title", flat=True)}
    numbers = [document["data"]["pages"] for document in logged(ref)]
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers)
    return changed - set(numbers), set(numbers) - changed


def test_ten_kills_leave_the_same_set_in_both(lasting_tenant: LastingTenant, made_by: Writers) -> None:
    ref, chance = lasting_tenant(), random.Random(6)
    number = 0
    with context.use_tenant(ref):
        for _ in range(10):
            number = kill_writer(made_by, ref, number, "within", chance)
        assert compare(ref) == (set(), set())
        assert Note.objects.count() > 50


@pytest.mark.parametrize("how", ["after", "before"])
def test_recording_outside_of_the_transaction_is_found_out(
    lasting_tenant: LastingTenant, made_by: Writers, how: str
) -> None:
    """The control: what is recorded afterwards gets lost, and what is recorded before is invented. Half of all kills show it."""
    ref, chance = lasting_tenant(), random.Random(6)
    number, lost, invented = 0, set[int](), set[int]()
    with context.use_tenant(ref):
        for _ in range(20):
            number = kill_writer(made_by, ref, number, how, chance)
            lost, invented = compare(ref)
            if lost or invented:
                break
    assert (bool(lost), bool(invented)) == ((True, False) if how == "after" else (False, True))
