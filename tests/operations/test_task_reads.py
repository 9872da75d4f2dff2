"""A task that a write started sees it, though it reads from a replica whose replay is paused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from celery import chain
from django.core.cache import cache

from tenants import reads
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.notes.models import Note
from tests.notes.tasks import note_add, note_count
from tests.operations.processes import Started, program
from tests.system import wait_for

# All workers share the replica, and a test pauses its replay.
pytestmark = pytest.mark.xdist_group("replica")


@pytest.fixture
def worker(tmp_path: Any, django_db_setup: None) -> Iterator[Started]:
    command = ("celery", "-A", "config", "--quiet", "worker", "--concurrency", "1", "--hostname", "reads@localhost")
    with program(tmp_path, *command, process="worker") as started:
        started.wait_until_ready()
        yield started


def counted_by_task(title: str) -> int:
    answer = uuid4().hex
    note_count.delay(title=title, answer=answer)
    wait_for(lambda: cache.get(answer) is not None, timeout=30, what="the task's answer")
    found: int = cache.get(answer)
    return found


def test_a_task_sees_the_write_that_started_it(
    worker: Started, replica: psycopg.Connection[Any], committed_tenant: TenantRef, django_db_blocker: Any
) -> None:
    title = uuid4().hex
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        counted_by_task(title)  # from here on the worker knows how far the replica is
        wait_for(lambda: counted_by_task(title) == 0, timeout=10)
        replica.execute("SELECT pg_wal_replay_pause()")
        with reads.reads_from_primary():
            note = Note.objects.create(title=title)
            assert counted_by_task(title) == 1
        assert counted_by_task(title) == 0  # the control: sent by someone who wrote nothing, it reads the replica
        note.delete()


def test_a_task_sees_what_the_one_before_it_in_a_chain_wrote(
    worker: Started, replica: psycopg.Connection[Any], committed_tenant: TenantRef, django_db_blocker: Any
) -> None:
    title, answer = uuid4().hex, uuid4().hex
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        counted_by_task(title)
        wait_for(lambda: counted_by_task(title) == 0, timeout=10)
        replica.execute("SELECT pg_wal_replay_pause()")
        chain(note_add.si(title=title), note_count.si(title=title, answer=answer)).apply_async()
        wait_for(lambda: cache.get(answer) is not None, timeout=30, what="the task's answer")
        assert cache.get(answer) == 1
        assert counted_by_task(title) == 0  # the control, as above
        Note.objects.filter(title=title).delete()
